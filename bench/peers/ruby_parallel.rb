# SPDX-License-Identifier: MIT
# Ruby's parallel gem by its public interface, two processes.
# usage: ruby bench/peers/ruby_parallel.rb WORKLOAD [VARIANT] [ITEMS]
# Variants: singly (Parallel.map over items), chunk (Parallel.map over slices made by hand).
require "parallel"

CHUNK = { "W1" => 10_000, "W2" => 500 }.freeze
WORKLOAD = ARGV[0]
VARIANT = ARGV[1] || "singly"
ITEMS = ARGV[2]&.to_i
$stdout.sync = true

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
def cpu = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)

def report(**figures)
  puts figures.sort.map { |k, v| "#{k}=#{v.is_a?(Float) ? format('%.6f', v) : v}" }.join(" ")
end

def rate(items, seconds, before, right, **more)
  report(items: items, seconds: seconds, rate: items / seconds, cpu_before: before, ok: right ? 1 : 0, **more)
end

def timed
  start = now
  yield
  now - start
end

def w1
  items = ITEMS || 1_000_000
  expected = (1..items).sum { |x| (x * x) % 7919 }
  sum = 0
  before = cpu
  seconds = timed do
    if VARIANT == "chunk"
      slices = (1..items).each_slice(CHUNK["W1"]).to_a
      sum = Parallel.map(slices, in_processes: 2) { |xs| xs.map { |x| (x * x) % 7919 } }.sum(&:sum)
    else
      sum = Parallel.map(1..items, in_processes: 2) { |x| (x * x) % 7919 }.sum
    end
  end
  rate(items, seconds, before, sum == expected)
end

def record(i) = { "id" => i, "name" => "user#{i}", "tags" => %w[a b c], "score" => i * 0.5 }

def mark(record)
  record["ok"] = true
  record
end

def w2
  items = ITEMS || 100_000
  count = 0
  before = cpu
  seconds = timed do
    records = (1..items).map { |i| record(i) }
    if VARIANT == "chunk"
      slices = records.each_slice(CHUNK["W2"]).to_a
      count = Parallel.map(slices, in_processes: 2) { |rs| rs.each { |r| mark(r) } }.sum { |rs| rs.count { |r| r["ok"] } }
    else
      count = Parallel.map(records, in_processes: 2) { |r| mark(r) }.count { |r| r["ok"] }
    end
  end
  rate(items, seconds, before, count == items)
end

# The items come from a lambda and the results go to `finish`, so that a thousand blobs are never in memory at
# once. With `in_processes` an array's items would be inherited by the fork and never travel.
def w3
  items = ITEMS || 1000
  blob = "x" * (1 << 20)
  sent = 0
  good = 0
  before = cpu
  source = -> { (sent += 1) <= items ? blob : Parallel::Stop }
  check = ->(_, _, result) { good += 1 if result == 1 << 20 || result.is_a?(String) && result.bytesize == 1 << 20 }
  seconds = timed do
    Parallel.map(source, in_processes: 2, preserve_results: false, finish: check) do |s|
      WORKLOAD == "W3a" ? s.bytesize : s
    end
  end
  rate(items, seconds, before, good == items)
end

def burn(loops)
  a = 1
  loops.times { a = (a * 1_103_515_245 + 12_345) % 2_147_483_648 }
  a
end

def tasks(items, uneven)
  best = Array.new(7) do # by processor time: the fastest, since noise only slows
    start = cpu
    burn(200_000)
    cpu - start
  end.min
  per_ms = (200_000 / (best * 1000)).to_i
  seed = 42
  Array.new(items) do
    ms = 1.0
    if uneven
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
      ms = [10.0, 0.1 * 2_147_483_648 / (seed + 1)].min
    end
    [1, (ms * per_ms).to_i].max
  end
end

def w4
  items = ITEMS || 2000
  loops = tasks(items, WORKLOAD == "W4tail")
  serial = timed { loops.each { |n| burn(n) } }
  done = 0
  before = cpu
  seconds = timed { done = Parallel.map(loops, in_processes: 2) { |n| burn(n) }.size }
  rate(items, seconds, before, done == items, speedup: serial / seconds)
end

def resident_mb
  File.read("/proc/self/statm").split[1].to_i * 4096 / 1_048_576.0
end

def make_heap(megabytes)
  heap = []
  1000.times { heap << { id: heap.size, name: "name of entry #{heap.size}" } } while resident_mb < megabytes
  heap
end

# Ruby's own fork and one pipe for all results: the gem has no fork per batch.
def w5(megabytes)
  items = ITEMS || 500
  heap = make_heap(megabytes)
  GC.start
  reader, writer = IO.pipe
  sum = 0
  alive = 0
  collect = lambda do
    pid, value = reader.readpartial(32).split.map(&:to_i)
    Process.wait(pid)
    sum += value
    alive -= 1
  end
  before = cpu
  seconds = timed do
    items.times do |b|
      batch = ((b * 100 + 1)..(b * 100 + 100)).to_a
      collect.call if alive == 2
      fork do
        writer.syswrite("#{Process.pid} #{batch.sum}".ljust(32))
        exit!(0)
      end
      alive += 1
    end
    collect.call while alive.positive?
  end
  n = items * 100
  rate(items, seconds, before, sum == n * (n + 1) / 2 && !heap.empty?)
  exit!(0)
end

def w5_memory
  heap = make_heap(500)
  before = cpu
  reader, writer = IO.pipe
  pid = fork do
    0.step(heap.size - 1, 100).sum { |i| heap[i][:id] + heap[i][:name].size }
    kb = File.readlines("/proc/self/smaps_rollup").sum { |l| l =~ /^Private_(?:Clean|Dirty):\s+(\d+)/ ? $1.to_i : 0 }
    writer.syswrite(format("%.3f", kb / 1024.0))
    exit!(0)
  end
  Process.wait(pid)
  report(items: 1, private_mb: reader.readpartial(32).to_f, cpu_before: before, ok: 1)
  exit!(0)
end

def w6
  before = cpu
  times = Array.new(20) { timed { Parallel.map([7, 7], in_processes: 2) { |x| x * x } } }.sort
  report(items: 20, ms: times[10] * 1000, cpu_before: before, ok: 1)
end

# The lambda is asked for the next item when the one worker's result is in: the time between two calls is a
# round trip.
def w7
  items = ITEMS || (WORKLOAD == "W7cold" ? 500 : 10_000)
  times = []
  last = nil
  before = cpu
  source = lambda do
    t = now
    times << t - last if last
    sleep 0.001 if WORKLOAD == "W7cold"
    last = now
    times.size < items ? 7 : Parallel::Stop
  end
  Parallel.each(source, in_processes: 1) { |x| (x * x) % 7919 }
  times.sort!
  report(items: items, p50_us: times[items / 2] * 1e6, p99_us: times[items * 99 / 100] * 1e6, cpu_before: before, ok: 1)
end

# A worker is killed at item items/2. Three seconds without a result are called a hang.
def w8
  items = ITEMS || 100_000
  arrived = 0
  progress = now
  outcome = "completes"
  Thread.new do
    sleep 0.5 while now - progress < 3
    report(items: items, arrived: arrived, failures: 0, outcome: "hangs")
    exit!(0)
  end
  begin
    Parallel.each(1..items, in_processes: 2, finish: lambda { |*|
      arrived += 1
      progress = now
    }) { |x| x == items / 2 ? Process.kill(:KILL, Process.pid) : (x * x) % 7919 }
  rescue StandardError => e
    outcome = "raises_#{e.class}"
  end
  report(items: items, arrived: arrived, failures: 0, outcome: outcome)
end

case WORKLOAD
when "W1" then w1
when "W2" then w2
when "W3a", "W3b" then w3
when "W4", "W4tail" then w4
when "W5_20" then w5(20)
when "W5_500" then w5(500)
when "W5mem" then w5_memory
when "W6" then w6
when "W7", "W7cold", "W7short" then w7
when "W8" then w8
else abort "no workload #{WORKLOAD} here"
end
