#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# Perl's MCE by its public interface: MCE::Flow and MCE::Map, two workers.
# usage: perl bench/peers/mce.pl WORKLOAD [VARIANT] [ITEMS]     S1_64 is point 64 of S1
# Variants: singly (chunk_size 1), map (MCE::Map with its own chunks), flow (MCE::Flow, its own chunks, one gather a chunk).
use strict;
use warnings;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);
use POSIX ();
use MCE::Flow max_workers => 2;
use MCE::Map max_workers => 2;

$| = 1;
my ($workload, $variant, $items) = @ARGV;
$variant //= 'flow';

sub now { return clock_gettime(CLOCK_MONOTONIC) }
sub cpu { return clock_gettime(CLOCK_PROCESS_CPUTIME_ID) }

sub report {
    my %figures = @_;
    print join(' ', map { my $v = $figures{$_}; "$_=" . ($v =~ /^-?\d+\.\d+/ ? sprintf('%.6f', $v) : $v) } sort keys %figures), "\n";
    return;
}

sub rate {
    my ($n, $seconds, $cpu, $ok, @more) = @_;
    report(items => $n, seconds => $seconds, rate => $n / $seconds, cpu_before => $cpu, ok => $ok ? 1 : 0, @more);
    return;
}

sub record { my $i = shift; return { id => $i, name => "user$i", tags => [ 'a', 'b', 'c' ], score => $i * 0.5 } }

sub w1 {
    my $n = $items || 1_000_000;
    my $expected = 0;
    $expected += ($_ * $_) % 7919 for 1 .. $n;
    my ($sum, $cpu, $start) = (0, cpu(), now());
    if ($variant eq 'map') {
        $sum += $_ for mce_map_s { ($_ * $_) % 7919 } 1, $n;
    }
    elsif ($variant eq 'singly') {
        MCE::Flow->run_seq({ chunk_size => 1, gather => sub { $sum += $_[0] } }, sub { MCE->gather(($_ * $_) % 7919) }, 1, $n);
    }
    else {
        MCE::Flow->run_seq({ gather => sub { $sum += $_ for @{ $_[0] } } },
            sub { MCE->gather([ map { ($_ * $_) % 7919 } @{ $_ } ]) }, 1, $n);
    }
    rate($n, now() - $start, $cpu, $sum == $expected);
    return;
}

sub w2 {
    my $n = $items || 100_000;
    my ($count, $cpu, $start) = (0, cpu(), now());
    my @records = map { record($_) } 1 .. $n;
    if ($variant eq 'singly') {
        MCE::Flow->run({ chunk_size => 1, gather => sub { $count++ if $_[0]{ok} } },
            sub { $_->{ok} = 1; MCE->gather($_) }, \@records);
    }
    else {
        MCE::Flow->run({ chunk_size => 'auto', gather => sub { for my $r (@{ $_[0] }) { $count++ if $r->{ok} } } },
            sub { my ($mce, $chunk) = @_; $_->{ok} = 1 for @{$chunk}; MCE->gather($chunk) }, \@records);
    }
    rate($n, now() - $start, $cpu, $count == $n);
    return;
}

# An iterator feeds the blobs, so that a thousand copies need not be in memory at once.
sub w3 {
    my ($worker, $good) = @_;
    my $n = $items || 1000;
    my ($blob, $sent, $count) = ('x' x (1 << 20), 0, 0);
    my ($cpu, $start) = (cpu(), now());
    MCE::Flow->run({ chunk_size => 1, input_data => sub { return $sent++ < $n ? $blob : () },
            gather => sub { $count++ if $good->($_[0]) } }, $worker);
    rate($n, now() - $start, $cpu, $count == $n);
    return;
}

sub burn {
    my $a = 1;
    $a = ($a * 1103515245 + 12345) % 2147483648 for 1 .. $_[0];
    return $a;
}

sub timed { my $code = shift; my $start = now(); $code->(@_); return now() - $start }

# By processor time: the fastest of seven tries, since noise only slows.
sub loops_per_ms {
    my ($best) = sort { $a <=> $b } map { my $start = cpu(); burn(200_000); cpu() - $start } 1 .. 7;
    return 200 / $best;
}

sub tasks {
    my ($n, $uneven) = @_;
    my ($per_ms, $seed, @loops) = (int(loops_per_ms()), 42);
    for (1 .. $n) {
        my $ms = 1;
        if ($uneven) {
            $seed = ($seed * 1103515245 + 12345) % 2147483648;
            $ms = 0.1 * 2147483648 / ($seed + 1);
            $ms = 10 if $ms > 10;
        }
        push @loops, int($ms * $per_ms) || 1;
    }
    return \@loops;
}

sub w4 {
    my $uneven = shift;
    my $n = $items || 2000;
    my $loops = tasks($n, $uneven);
    my $serial = timed(sub { burn($_) for @{$loops} });
    my ($done, $cpu, $start) = (0, cpu(), now());
    if ($variant eq 'singly') {
        MCE::Flow->run({ chunk_size => 1, gather => sub { $done++ } }, sub { MCE->gather(burn($_)) }, $loops);
    }
    else {
        my @results = MCE::Map->run(sub { burn($_) }, $loops);
        $done = @results;
    }
    my $seconds = now() - $start;
    rate($n, $seconds, $cpu, $done == $n, speedup => $serial / $seconds);
    return;
}

sub resident_mb {
    open my $f, '<', '/proc/self/statm' or die "/proc/self/statm: $!";
    return (split ' ', <$f>)[1] * POSIX::sysconf(POSIX::_SC_PAGESIZE()) / 1048576;
}

sub make_heap {
    my ($megabytes, @heap) = @_;
    while (resident_mb() < $megabytes) {
        push @heap, { id => scalar @heap, name => 'name of entry ' . @heap } for 1 .. 1000;
    }
    return \@heap;
}

# Perl's own fork and one pipe for all results; MCE has no fork per batch.
sub w5 {
    my $megabytes = shift;
    my $n = $items || 500;
    my $heap = make_heap($megabytes);
    pipe my $reader, my $writer or die "pipe: $!";
    my ($sum, $alive) = (0, 0);
    my $collect = sub {
        sysread $reader, my $line, 32;
        my ($pid, $value) = split ' ', $line;
        waitpid $pid, 0;
        $sum += $value;
    };
    my ($cpu, $start) = (cpu(), now());
    for my $b (0 .. $n - 1) {
        my @batch = ($b * 100 + 1 .. $b * 100 + 100);
        if ($alive == 2) { $collect->(); $alive-- }
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            my $value = 0;
            $value += $_ for @batch;
            syswrite $writer, sprintf('%-32s', "$$ $value");
            POSIX::_exit(0);
        }
        $alive++;
    }
    $collect->() for 1 .. $alive;
    my $all = $n * 100;
    rate($n, now() - $start, $cpu, $sum == $all * ($all + 1) / 2);
    POSIX::_exit(0);
}

sub w5_memory {
    my $heap = make_heap(500);
    my $cpu = cpu();
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        my ($value, $kb) = (0, 0);
        for (my $i = 0; $i < @{$heap}; $i += 100) { $value += $heap->[$i]{id} + length($heap->[$i]{name}) }
        open my $f, '<', '/proc/self/smaps_rollup' or POSIX::_exit(1);
        while (<$f>) { $kb += $1 if /^Private_(?:Clean|Dirty):\s+(\d+)/ }
        syswrite $writer, sprintf('%.3f', $kb / 1024);
        POSIX::_exit(0);
    }
    waitpid $pid, 0;
    sysread $reader, my $mb, 32;
    report(items => 1, private_mb => $mb, cpu_before => $cpu, ok => 1);
    POSIX::_exit(0);
}

sub start_once {
    my $workers = shift;
    my @r = MCE::Flow->run({ chunk_size => 1, max_workers => $workers }, sub { MCE->gather($_ * $_) }, [7]);
    MCE::Flow->finish;
    die "wrong result" unless $r[0] == 49;
    return;
}

sub w6 {
    my $cpu = cpu();
    my @times = sort { $a <=> $b } map { timed(\&start_once, 2) } 1 .. 20;
    report(items => 20, ms => $times[10] * 1000, cpu_before => $cpu, ok => 1);
    return;
}

sub sum_of_lines {
    my ($path, $pattern, $sum) = (@_, 0);
    open my $f, '<', $path or die "$path: $!";
    while (<$f>) { $sum += $1 if /$pattern/ }
    return $sum;
}

# Workers of a flow stay, idle, until `finish`.
sub w11 {
    my $workers = shift;
    my $n = $items || 2000;
    my $tries = $workers < 64 ? 7 : 3;
    my @starts = sort { $a <=> $b } map { timed(\&start_once, $workers) } 1 .. $tries;
    MCE::Flow->run({ chunk_size => 1, max_workers => $workers }, sub { MCE->gather($_) }, [7]);
    my @pids = split ' ', `cat /proc/$$/task/$$/children`;
    @pids = grep { -e "/proc/$_/smaps_rollup" } @pids; # not the shell and cat, which have gone
    my ($private, $tables) = (0, 0);
    for my $pid (@pids) {
        $private += sum_of_lines("/proc/$pid/smaps_rollup", qr/^Private_(?:Clean|Dirty):\s+(\d+)/) / @pids;
        $tables += sum_of_lines("/proc/$pid/status", qr/^VmPTE:\s+(\d+)/) / @pids;
    }
    MCE::Flow->finish;
    my $loops = tasks($n, 0);
    my ($done, $cpu, $start) = (0, cpu(), now());
    MCE::Flow->run({ chunk_size => 1, max_workers => $workers, gather => sub { $done++ } },
        sub { MCE->gather(burn($_)) }, $loops);
    MCE::Flow->finish;
    rate($n, now() - $start, $cpu, $done == $n && @pids == $workers, start_ms => $starts[ @starts / 2 ] * 1000,
        private_kb => $private, pte_kb => $tables);
    return;
}

# One worker asks the iterator for the next item when it has gathered the last one's result: the time between
# two calls of the iterator is a round trip.
sub w7 {
    my $cold = shift;
    my $n = $items || ($cold ? 500 : 10_000);
    my ($sent, $last, $cpu, @t) = (0, undef, cpu());
    MCE::Flow->run({ max_workers => 1, chunk_size => 1, gather => sub { }, input_data => sub {
                my $t = now();
                push @t, $t - $last if defined $last;
                select undef, undef, undef, 0.001 if $cold;
                $last = now();
                return $sent++ <= $n ? 7 : ();
            } }, sub { MCE->gather(($_ * $_) % 7919) });
    @t = sort { $a <=> $b } @t;
    report(items => $n, p50_us => $t[ @t / 2 ] * 1e6, p99_us => $t[ @t * 0.99 ] * 1e6, cpu_before => $cpu, ok => @t >= $n ? 1 : 0);
    return;
}

# A worker is killed at item items/2. Three seconds without a result are called a hang.
sub w8 {
    my $n = $items || 100_000;
    my ($arrived, $victim) = (0, int($n / 2));
    local $SIG{ALRM} = sub {
        report(items => $n, arrived => $arrived, failures => 0, outcome => 'hangs');
        kill 'KILL', split ' ', `cat /proc/$$/task/$$/children`;
        POSIX::_exit(0);
    };
    alarm 3;
    my $outcome = eval {
        MCE::Flow->run_seq({ chunk_size => 1, gather => sub { alarm 3 if ++$arrived % 1000 == 0 } },
            sub { kill 'KILL', $$ if $_ == $victim; MCE->gather(($_ * $_) % 7919) }, 1, $n);
        'completes';
    } // 'raises';
    report(items => $n, arrived => $arrived, failures => 0, outcome => $outcome);
    return;
}

# 64 MiB of different strings in turn, from an iterator that gives a chunk at a time.
sub s1 {
    my $size = shift;
    my $n = $items || 1000;
    my $kept = int((64 << 20) / $size);
    my $filler = 'x' x ($size - 8);
    my @strings = map { sprintf('%08d', $_) . $filler } 1 .. ($n < $kept ? $n : $kept);
    my $chunk = int(131_072 / $size);
    $chunk = $chunk < 1 ? 1 : $chunk > 2000 ? 2000 : $chunk;
    my ($sum, $sent, $cpu, $start) = (0, 0, cpu(), now());
    MCE::Flow->run({ chunk_size => $chunk, gather => sub { $sum += $_ for @{ $_[0] } }, input_data => sub {
                my $end = $sent + $chunk < $n ? $sent + $chunk : $n;
                my @list = map { $strings[ $_ % @strings ] } $sent .. $end - 1;
                $sent = $end;
                return @list;
            } }, sub { my ($mce, $list) = @_; MCE->gather([ map { length } @{$list} ]) });
    rate($n, now() - $start, $cpu, $sum == $n * $size);
    return;
}

sub s2 {
    my $cost = shift;
    my $n = $items || 1000;
    my $loops = int($cost * loops_per_ms() / 1000);
    my $expected = 0;
    $expected += ($_ * $_) % 7919 for 1 .. $n;
    my ($sum, $cpu, $start) = (0, cpu(), now());
    MCE::Flow->run_seq({ gather => sub { $sum += $_ for @{ $_[0] } } },
        sub { MCE->gather([ map { burn($loops) if $loops; ($_ * $_) % 7919 } @{ $_ } ]) }, 1, $n);
    rate($n, now() - $start, $cpu, $sum == $expected);
    return;
}

my %run = (
    W1 => \&w1, W2 => \&w2,
    W3a => sub { w3(sub { MCE->gather(length $_) }, sub { $_[0] == 1 << 20 }) },
    W3b => sub { w3(sub { MCE->gather($_) }, sub { length $_[0] == 1 << 20 }) },
    W4 => sub { w4(0) }, W4tail => sub { w4(1) },
    W5_20 => sub { w5(20) }, W5_500 => sub { w5(500) }, W5mem => \&w5_memory,
    W6 => \&w6, W7 => sub { w7(0) }, W7cold => sub { w7(1) }, W7short => sub { w7(0) }, W8 => \&w8,
    W11 => \&w11, S1 => \&s1, S2 => \&s2,
);
my ($name, $point) = ($workload // '') =~ /^(S\d|W11)_(\d+)$/ ? ($1, $2) : ($workload // '', undef);
my $chosen = $run{$name} or die "no workload here by that name\n";
$chosen->($point);
