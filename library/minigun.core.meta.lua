---@meta minigun.core

-- Types of the library's part in C, for the Lua language server; the comments are those of src/lua/. A function that is
-- not here, or not there any more, is found by spec/tree_spec.lua.

---The library's part in C: what `require "minigun.core"` gives. For the library's own modules; programs use `minigun`.
---@class minigun.core
---@field version string
---@field protocol table<string, integer> numbers that C and Lua agree on (lua_protocol.c)
---@field signal_numbers table<string, integer>
local core = {}

---Seconds of the monotonic clock, a float
---@return number seconds
function core.now() end

---Seconds of the clock for deadlines, which stands still while this process is stopped; see clock.h
---@return number seconds
function core.clock() end

---Stops are noticed from now on; false: no more, when that was said as often
---@param on boolean
function core.watch_stops(on) end

---Processors that this process is bound to; its container's quota is not counted (see machine.lua)
---@return integer n
function core.cpus() end

---This process's id
---@return integer pid
function core.pid() end

---A number that is another one in every process forked from here; asks memory, not the kernel
---@return integer number
function core.process() end

---Seconds of processor time that this thread has used, and how often it has waited
---@return number seconds
---@return integer waits
function core.worked() end

---Two integers of the system's randomness, for math.randomseed; where it has none, of clock and process
---@return integer a
---@return integer b
function core.random() end

---True, or false when a signal ended it early
---@param seconds number
---@return boolean whole
function core.sleep(seconds) end

---See mg_heap_settle in heap.h.
function core.heap_settle() end

---See mg_heap_keep in heap.h.
function core.heap_keep() end

---Where to go on, or nil at the end; whether the kernel was busy. See heap.h.
---@param from integer
---@param most integer
---@return integer? next
---@return boolean busy
function core.heap_collapse(from, most) end

---Columns of the terminal that the descriptor leads to (0: not known), and whether this process is in the foreground of
---the terminal | nil: the descriptor leads to no terminal
---@param fd integer
---@return integer? columns
---@return boolean? foreground
function core.terminal(fd) end

---Writes out what this process has printed on standard output and error; the fault is one of standard output, now, or
---earlier (EIO then)
---@return true? ok
---@return string? message
---@return integer? errno
function core.flush() end

---Ends this process by the signal's default action, as if nobody had handled it
---@param signal integer
function core.die_of(signal) end

---N: opens the standard descriptors that are closed, so that no other is made under their numbers; fill_standard(n):
---closes them again
---@param n? integer
---@return integer n
function core.fill_standard(n) end

---No cycle of the collector before kib KiB more have been allocated
---@param kib integer
function core.defer_collector(kib) end

---A full collection, after which the collector has its own pace
function core.collect() end

---Ends this process at once: open files are flushed, but neither is the state closed nor are exit handlers run, both
---of which would move the position of files that are shared with the coordinator
---@param code integer
function core.exit(code) end

---The generator of f, which is this Lua's math.random, as bytes; with state it is set to that. nil: f has no such
---generator
---@param f function
---@param state? string
---@return string? state
function core.random_state(f, state) end

---Whether blocks are kept now. true: a run begins; false: one that has begun so ends
---@param on? boolean
---@return boolean kept
function core.keep_freed(on) end

---String, references value any value that can be sent string its bytes references boolean: hand it to decode as its
---second argument Raises at the caller's line, with the path, for a value that cannot be serialised.
---@param value any
---@return string bytes
---@return boolean references
function core.encode(value) end

---Value | nil, message string bytes of exactly one value references boolean: whether ext 3 is accepted; default true
---plain boolean: no load hook is called, objects' contents stand for them; default false nil, message for bytes that
---are no value (and nil alone for the encoded nil).
---@param bytes string
---@param references? boolean
---@param plain? boolean
---@return any value
---@return string? message
function core.decode(bytes, references, plain) end

---Name string of 1 to 255 bytes that stands for the type on the wire metatable of the objects; tables, or userdata
---with hooks dump function(object) -> value that can be sent load function(value) -> object Without hooks the table's
---own contents are sent, and the metatable is put back. The same name and metatable may be registered again: the hooks
---are replaced. Raises for a name that has another metatable, and the other way round.
---@param name string
---@param metatable table
---@param dump? function
---@param load? function
function core.register(name, metatable, dump, load) end

---Passes on what the handler that runs has emitted and collected so far. In the module, so that a traceback can tell
---where the stages after that handler begin.
---@param chain minigun.chain
function core.chain_flush(chain) end

---Ids: the highest number of a stage; links: how many stages there will be; note: the message handler of handlers;
---process: as of core.process(); functions: what is decided in Lua, by name (see lua_chain.c)
---@param ids integer
---@param links integer
---@param note function
---@param process integer
---@param functions table<string, function>
---@return minigun.chain chain
function core.chain(ids, links, note, process, functions) end

---A copy that shares nothing with it but what cannot be sent: see codec_copy.c | nil where it has more than so many
---entries
---@param value any
---@param most? integer
---@return any copy
function core.copy(value, most) end

---Copy, entries that are left of `most`, whether one of its tables was in `seen` already, a table with weak keys, into
---which they are put | nil where it has more entries
---@param value any
---@param seen table
---@param most integer
---@return any copy
---@return integer? left
---@return boolean? met
function core.watch(value, seen, most) end

---Whether they still have the same contents, as far as that can be told soon
---@param value any
---@param copy any
---@return boolean same
function core.same(value, copy) end

---F(error) -> string is called for what a hook has raised, as a message handler
---@param f fun(error: any): string
function core.on_raise(f) end

---Program | nil, reason, errno, step: "keeper", "start", "cwd", "program", "stdin", "stdout" or "stderr". given:
---`stdin`, `cwd`, `stdout`, `stderr` (a path, or true), `limit` (bytes), `more`, `gone` (arrays: "NAME=value", "NAME")
---@param argv string[]
---@param given table
---@return minigun.program? program
---@return string? reason
---@return integer? errno
---@return string? step
function core.command(argv, given) end

---Ends the keeper where it has nothing to keep
function core.keeper_rest() end

---True | nil, message, errno: what this process starts from now on dies with it, also where it is killed; it must lead
---a group of its own
---@return boolean? ok
---@return string? message
---@return integer? errno
function core.keep_group() end

---Of a child of this process, or of a child of such
---@param pid integer
---@param signal integer
function core.kill(pid, signal) end

---Where a symbolic link leads | nil: it is none, or a very long one
---@param path string
---@return string? path
function core.link(path) end

---What unlimit is to be given: from now on what runs in the thread is ended at that time (seconds of core.clock), or
---earlier, where a limit was set before
---@param due number
---@param thread thread
---@return any before
function core.limit(due, thread) end

---Undoes limit
---@param before any
---@param thread thread
function core.unlimit(before, thread) end

---As xpcall(handler, message handler, ...), within a limit
---@param due number
---@param handler function
---@param on_error function
---@param ... any
---@return boolean ok
---@return any ...
function core.call_limited(due, handler, on_error, ...) end

---A limit that is set meanwhile is for this coroutine too, which was made before
---@param thread thread
function core.limits(thread) end

---Seconds until the limit | nil: there is none. Raises when it is over and not paused.
---@return number? seconds
function core.limited() end

---Meanwhile no limit ends what runs, as it is the library that is at work
---@param on boolean
---@return boolean before
function core.pause_limit(on) end

---A ledger of so many stages and at most so many places
---@param stages integer
---@param places integer
---@return minigun.ledger ledger
function core.ledger(stages, places) end

---Reader | nil, message, errno. How it is cut: `separator`, `fixed`, `prefix` (bytes) and `big`, or `comma`; `longest`;
---nil: lines. Only what it has opened itself does it close.
---@param source string|integer|file*|nil
---@param cut? table
---@return minigun.reader? reader
---@return string? message
---@return integer? errno
function core.reader(source, cut) end

---A reader whose items are numbers
---@param first integer
---@param step integer
---@param count integer
---@return minigun.reader reader
function core.range(first, step, count) end

---Nothing: it is no emit that C can call, and nothing has been done | true: all is emitted | false: the source would
---wait | nil, message, errno; of a record that is no item, which is passed over, that too
---@param emit any
---@param reader minigun.reader
---@return boolean? all
---@return string? message
---@return integer? errno
---@return string? record
function core.feed(emit, reader) end

---The paths that match, sorted; those of directories end in a slash
---@param pattern string
---@return string[] paths
function core.glob(pattern) end

---True, whether it is a regular file | nil, message, errno
---@param path string
---@return boolean? readable
---@return boolean|string|nil regular or message
---@return integer? errno
function core.readable(path) end

---The open file whose lines it reads, whether it reads whole lines, whether that is a regular file | nil: it is not
---what io.lines or file:lines has returned, which is a C function with the file, the number of its formats and a
---boolean.
---@param iterator function
---@return file*? file
---@return boolean? whole
---@return boolean? regular
function core.file_of(iterator) end

---Whether to read from an open file would wait: nothing (no whole line) is read ahead, and nothing has come
---@param file file*
---@param whole boolean
---@return boolean waits
---@return boolean part a part of a line has come
function core.would_wait(file, whole) end

---The descriptor of an open Lua file | nil: closed, or no file
---@param file file*
---@return integer? fd
function core.fileno(file) end

---Device, inode of what it is open on | nil: it is closed
---@param fd integer
---@return integer? device
---@return integer? inode
function core.file_id(fd) end

---Whether it can be read from ("r") or written to ("w"), waiting for that at most so long | nil, message, errno. false
---comes early when a signal ended the wait. Where there is an error or an end, both can be done: the next call tells
---of it.
---@param fd integer
---@param mode string
---@param seconds? number
---@return boolean? ready
---@return string? message
---@return integer? errno
function core.wait(fd, mode, seconds) end

---Poller | nil, message, errno
---@return minigun.poller? poller
---@return string? message
---@return integer? errno
function core.poller() end

---True | nil, message, errno: it is counted from now on; false: one such less
---@param number integer
---@param on boolean
---@return boolean? ok
---@return string? message
---@return integer? errno
function core.count_signal(number, on) end

---How often it has come
---@param number integer
---@return integer n
function core.signal_count(number) end

---Pool | nil, message, errno
---@param slots integer
---@param bytes integer
---@param keep integer
---@param cpus? integer
---@return minigun.pool? pool
---@return string? message
---@return integer? errno
function core.pool(slots, bytes, keep, cpus) end

---True | nil, message, errno: from now on this process may have so many bytes more of its own, steps back so much for
---others, and runs on the cpu-th, from 1, of the processors that it may use
---@param memory? integer
---@param nice? integer
---@param cpu? integer
---@return boolean? ok
---@return string? message
---@return integer? errno
function core.restrict(memory, nice, cpu) end

---Process, pid | nil, message, errno. In the child: f(...), then it ends with the integer that f returns, or 0. It has
---no descriptor of its parent's loops and pools, and default signals.
---@param f function
---@param ... any
---@return minigun.process? process
---@return integer|string|nil pid_or_message
---@return integer? errno
function core.fork(f, ...) end

---Process | nil, message, errno
---@param pid integer
---@return minigun.process? process
---@return string? message
---@return integer? errno
function core.watch_process(pid) end

---True | nil, message. In a child: step 1 renews what luv's loop shares with the parent's, step 2 gives luv a new
---loop. path: of the library that is loaded
---@param path string
---@param step integer
---@return boolean? ok
---@return string? message
function core.luv_forked(path, step) end

---Fd; listen(path, nil, backlog) -> fd, device, inode (0: it has no file) | nil, message, errno
---@param host string
---@param port? integer
---@param backlog integer
---@return integer? fd
---@return integer|string|nil device or message
---@return integer|nil inode or errno
function core.listen(host, port, backlog) end

---Removes a socket's file, if it is that one
---@param path string
---@param device integer
---@param inode integer
function core.unlisten(path, device, inode) end

---Device, inode | nil, message, errno
---@param path string
---@return integer? device
---@return integer|string|nil inode or message
---@return integer? errno
function core.path_id(path) end

---How many connections may wait from now on
---@param fd integer
---@param n integer
function core.backlog(fd, n) end

---As of mg_push_address | nil, message, errno
---@param fd integer
---@return string? host
---@return integer|string|nil port or message
---@return integer? errno
function core.socket_name(fd) end

---Whether it is a stream socket that listens; then it does not block from now on
---@param fd integer
---@return boolean listens
function core.is_listening(fd) end

---0 | nil, message, errno: a datagram to a Unix socket
---@param path string
---@param text string
---@return integer? zero
---@return string? message
---@return integer? errno
function core.notify(path, text) end

---The end to read from, which does not block, the end to write to | nil, message, errno. neither: a write does not
---block either, it fails where the pipe is full
---@param neither? boolean
---@return integer? from
---@return integer|string|nil to or message
---@return integer? errno
function core.pipe(neither) end

---A descriptor that is readable after event_ring(fd), until event_clear(fd) | nil, message, errno
---@return integer? fd
---@return string? message
---@return integer? errno
function core.event() end

---Makes the descriptor of core.event readable.
---@param fd integer
function core.event_ring(fd) end

---Makes it not readable.
---@param fd integer
function core.event_clear(fd) end

---Bytes, "" at the end | nil, message, errno
---@param fd integer
---@return string? bytes
---@return string? message
---@return integer? errno
function core.read_fd(fd) end

---N | nil, message, errno: into a pipe or file
---@param fd integer
---@param bytes string
---@return integer? n
---@return string? message
---@return integer? errno
function core.write_fd(fd, bytes) end

---Closes it
---@param fd integer
function core.shut(fd) end

---Another descriptor of the same socket | nil, message, errno
---@param fd integer
---@return integer? fd
---@return string? message
---@return integer? errno
function core.copy_fd(fd) end

---Standard output (1), standard error (2, the default) or both (3) go there
---@param fd integer
---@param which? integer
function core.print_into(fd, which) end

---Nil, message, errno: becomes that program, which has these descriptors beside 0, 1 and 2
---@param path string
---@param argv string[]
---@param environment string[]
---@param fds integer[]
---@return nil nothing
---@return string message
---@return integer errno
function core.execute(path, argv, environment, fds) end

---Array of "NAME=value"
---@return string[] list
function core.environment() end

---User's number, number of its group | nil, message, errno (ENOENT: there is none)
---@param name string
---@return integer? user
---@return integer|string|nil group or message
---@return integer? errno
function core.user(name) end

---Its number | nil, message, errno
---@param name string
---@return integer? group
---@return string? message
---@return integer? errno
function core.group(name) end

---0 | nil, message, errno; the parent's death still ends this process
---@param user? integer
---@param group integer
---@param name? string
---@return integer? zero
---@return string? message
---@return integer? errno
function core.become(user, group, name) end

---Kills a child and waits for it, as far as nobody else has
---@param pid integer
function core.end_child(pid) end

---0 | nil, message, errno: this process opens descriptors below n only, from now on
---@param n integer
---@return integer? zero
---@return string? message
---@return integer? errno
function core.limit_descriptors(n) end

---Bytes that a process has in use | nil, message, errno
---@param pid integer
---@return integer? bytes
---@return string? message
---@return integer? errno
function core.memory(pid) end

---Whether that is still this process's parent: from now on its death kills this one. It has a group of its own, so
---that a terminal's signals are the parent's alone, and reads nothing from standard input.
---@param parent integer
---@return boolean parent
function core.die_with_parent(parent) end

---The number of this process's parent
---@return integer pid
function core.parent() end

---Guard, open until g:close(), its end as a to-be-closed variable, or its collection
---@return minigun.guard guard
function core.guard() end

---From now on the first Ctrl-C asks this process's runs to end in good order, and says the text, where SIGINT is handled
---then as it is now
---@param text string
function core.interrupt_asks(text) end

---Whether Ctrl-C asks; if so it does from now on where no guard is open, too
---@param on boolean
---@return boolean asks
function core.interrupt_hold(on) end

---Seconds since the last Ctrl-C, where one is to end the run | nil
---@return number? seconds
function core.interrupted() end

---File | nil, message, errno
---@param path string
---@param read_only? boolean
---@return minigun.spool_file? file
---@return string? message
---@return integer? errno
function core.spool_file(path, read_only) end

---Integer
---@param bytes string
---@return integer sum
function core.crc32c(bytes) end

---A run is open. grace: seconds from the signal to its end, of the first run that is open; asks: Ctrl-C may
---ask for its end
---@param grace? number
---@param asks? boolean
function core.term_open(grace, asks) end

---Where this was the last open run, the signal that has asked for its end, and the caller dies of it | nil. lives: it
---does not; later runs are asked, too. No handler stays, as this module may be unloaded then
---@param lives? boolean
---@return integer? signal
function core.term_close(lives) end

---The signal that asks for the end | nil; the caller sees to it
---@return integer? signal
function core.terminated() end

---Whether somebody moves a run just now
---@param on boolean
function core.term_driving(on) end

---Whether a producer runs from now on; false: whether a signal has interrupted what it called
---@param on boolean
---@return boolean? interrupted
function core.term_source(on) end

---Acceptor | nil, message, errno. sockets: array of descriptors; control: the end of the pipe from the master. The
---sockets are not looked at before a:listen(true). SIGTERM asks for a drain from now on.
---@param line minigun.line
---@param sockets integer[]
---@param control integer
---@return minigun.acceptor? acceptor
---@return string? message
---@return integer? errno
function core.acceptor(line, sockets, control) end

---Board | nil, message, errno
---@param n integer
---@return minigun.board? board
---@return string? message
---@return integer? errno
function core.board(n) end

---The whole screen of this process's terminal is ours from now on | nil, message, errno. It is shown by the first check
---@return true? opened
---@return string? message
---@return integer? errno
function core.screen_open() end

---Whether it is shown (another job may have the terminal), and whether that is only from now on, so all is drawn anew
---@return boolean shown
---@return boolean anew
function core.screen_check() end

---Zeros: the terminal does not know
---@return integer columns
---@return integer rows
function core.screen_size() end

---How many of the bytes after the first `after` it has taken, without waiting | nil, message, errno
---@param bytes string
---@param after? integer
---@return integer? taken
---@return string? message
---@return integer? errno
function core.screen_write(bytes, after) end

---What was typed, "" for nothing | nil: the terminal is gone
---@return string? keys
function core.screen_read() end

---What is printed goes into the file `from` (a descriptor; -1: nothing is kept): at the end of the process it is written
---to out, or where that is -1 to err
---@param from integer
---@param out integer
---@param err integer
function core.screen_keep(from, out, err) end

function core.screen_close() end

---A new file, this process's own while it lives | nil, message, errno
---@param path string
---@return minigun.page? page
---@return string? message
---@return integer? errno
function core.page(path) end

---Whether a process has the file as its own | nil, message, errno
---@param path string
---@return boolean? owned
---@return string? message
---@return integer? errno
function core.is_owned(path) end

---True | nil, message, errno (EPERM: others can write there)
---@param path string
---@return true? made
---@return string? message
---@return integer? errno
function core.make_directory(path) end

---Array of names | nil, message, errno
---@param path string
---@return string[]? names
---@return string? message
---@return integer? errno
function core.list_directory(path) end

---Fd | nil, message, errno
---@param path string
---@return integer? fd
---@return string? message
---@return integer? errno
function core.append_file(path) end

---A worker's descriptor for messages of the log | nil: it has none
---@return integer? fd
function core.log_fd() end

---True | nil, message, errno, whether a part of it is written: all of it, and nothing of other processes that do the
---same in between
---@param fd integer
---@param bytes string
---@param seconds number? that a reader has to take it
---@return true? written
---@return string? message
---@return integer? errno
---@return boolean? part
function core.write_line(fd, bytes, seconds) end

---An empty bundle
---@return minigun.bundle bundle
function core.bundle() end

---Writer. on_full(writer, bytes needed or 0, whether for the array of another writer, see w:into); on_bad(value,
---message) for a value that cannot be serialised; first..last: slots of the receivers; on_to(name, item) for w:to
---@param pool minigun.pool
---@param edge integer
---@param on_full function
---@param on_bad function
---@param first integer
---@param last integer
---@param on_to? function
---@return minigun.writer writer
function core.writer(pool, edge, on_full, on_bad, first, last, on_to) end

---Takes connections from listening sockets, in a worker of a server (lua_accept.c).
---@class minigun.acceptor
local Acceptor = {}

---Connection | nil, "stop": nothing more is to be taken | nil, "reopen": log files are to be opened anew | nil,
---"orphan": the master is gone | nil, message, errno
---@return minigun.connection? connection
---@return string? message
---@return integer? errno
function Acceptor:accept() end

---The descriptor of a connection, which counts as in hand | nil, "again": there is nothing, or nothing more at this
---moment | nil, "later": another worker is to go first | as `accept`. further: one was taken in this turn of the loop
---@param further boolean
---@return integer? fd
---@return string? message
---@return integer? errno
function Acceptor:take(further) end

---Connection: of one that was taken
---@param fd integer
---@return minigun.connection connection
function Acceptor:connection(fd) end

---True | nil, message, errno: connections are taken, or not, from now on
---@param on boolean
---@return boolean? ok
---@return string? message
---@return integer? errno
function Acceptor:listen(on) end

---True | nil, message, errno: new connections do not wake it, or do again; what waits at the end of the server is taken
---all the same
---@param on boolean
---@return boolean? ok
---@return string? message
---@return integer? errno
function Acceptor:pause(on) end

---The descriptor that is readable when there is something to take
---@return integer fd
function Acceptor:fd() end

---May be called twice
function Acceptor:close() end

---What a server's workers say of themselves, in shared memory (lua_board.c).
---@class minigun.board
local Board = {}

---For a worker that is about to be forked
---@param i integer
function Board:wipe(i) end

---State, waiting, connections in hand, beat (seconds of the monotonic clock), requests, connections that it has
---accepted, what it is at
---@param i integer
---@return integer state
---@return integer waiting
---@return integer in_hand
---@return number beat
---@return integer requests
---@return integer accepted
---@return string at
function Board:read(i) end

---1 drain, 2 stop; 3: open log files anew
---@param i integer
---@param what integer
function Board:ask(i, what) end

---Line: in the worker that it is of
---@param i integer
---@return minigun.line line
function Board:take(i) end

---May be called twice
function Board:close() end

---The stages of one process, called one after the other (lua_chain.c, lua_chain_emit.c).
---@class minigun.chain
local Chain = {}

---Adds a stage whose emissions go to so many others of the chain, see c:connect
---@param id integer
---@param inner integer
---@param handler? function
---@param ctx any
---@return minigun.link emit
function Chain:link(id, inner, handler, ctx) end

---The ids of the stages of the chain that get what a stage emits; what is called for each item that leaves the chain
---there: out(stage, item), or out(item) where stage is nil
---@param id integer
---@param inner integer[]
---@param out function
---@param stage any
function Chain:connect(id, inner, out, stage) end

---What a stage is or does
---@param id integer
---@param name "gathers"|"keeps"|"watching"|"early"|"slow"|"outside"|"apart"|"reread"|"aside"
---@param on any
function Chain:set(id, name, on) end

---The worker whose chain it is, for "aside" and w:run
---@param w minigun.worker
function Chain:worker(w) end

---Its handler from now on
---@param id integer
---@param f function
function Chain:handler(id, f) end

---The function of a map or of a fold, which may be called instead of its handler
---@param id integer
---@param folds boolean? it is `f(value, item) -> value`; else `f(item) -> value`, which is emitted
---@param f function? nil: its handler is called as any other's
function Chain:direct(id, folds, f) end

---What a fold's first item has given
---@param id integer
---@param value any
function Chain:fold(id, value) end

---What a fold has taken; the next item begins anew
---@param id integer
---@return integer items
---@return any value nil where there are no items
function Chain:folded(id) end

---Runs one item through the stage and all after it. attempt: 1 for the first, which is counted; number: of a further
---one, that of the item
---@param id integer
---@param item any
---@param attempt integer
---@param number? integer
function Chain:push(id, item, attempt, number) end

---How many: the same for all items that a cursor gives, which are counted by its user
---@param id integer
---@param cursor minigun.cursor
---@return integer n
function Chain:push_all(id, cursor) end

---Passes an item on as if the stage had emitted it
---@param id integer
---@param item any
function Chain:send(id, item) end

---As c:push, for the stage and the attempt that c:begin has said; the item is counted by its user
---@param id integer
---@param item any
function Chain:take(id, item) end

---What the library has raised in a call before, which so was not ended, is forgotten
---@param id integer
---@param attempt integer
function Chain:begin(id, attempt) end

---Items pushed, emitted, calls that have failed; anew: they are counted from 0 again
---@param id integer
---@param anew? boolean
---@return integer pushed
---@return integer emitted
---@return integer failed
function Chain:counts(id, anew) end

---Adds to them
---@param id integer
---@param pushed integer
---@param emitted integer
---@param failed integer
function Chain:count(id, pushed, emitted, failed) end

---How many items have come to the stage, also by cursors
---@param id integer
---@return integer n
function Chain:number(id) end

---The id of the stage whose item has left the chain last
---@return integer? id
function Chain:sender() end

---What an emit has looked at is kept, for all receivers or for one
---@param id integer
---@param value any
---@param target? integer
function Chain:keep(id, value, target) end

---Whether the stage's handler runs, so that what it collects must be kept: it is then noted that there is something
---@param id integer
---@return boolean keeps
function Chain:keeps(id) end

---The emit of a stage of a chain.
---@class minigun.link
---@overload fun(value: any)
local Link = {}

---Sends an item to a stage by its name.
---@param name string
---@param item any
function Link:to(name, item) end

---Called for the next value of a range, and what is wrong with it (lua_reader.c).
---@class minigun.cursor
---@overload fun(): any, any

---A worker's own line of a board (lua_board.c).
---@class minigun.line
local Line = {}

---0 starting, 1 ready, 2 draining
---@param n integer
function Line:state(n) end

---It is alive; and what it is at
---@param text? string
function Line:beat(text) end

---Requests: one more is answered
---@return integer requests
function Line:done() end

---So many connections more, or less, are in its hand
---@param n integer
function Line:hold(n) end

---What its master, or SIGTERM, has asked for (board.h), and how often log files are to be opened anew
---@return integer what
---@return integer reopened
function Line:asked() end

---As if its master had asked for it
function Line:drain() end

---The coroutine that calls runs a handler from now on, until Line:leave
function Line:enter() end
function Line:leave() end

---SIGABRT writes a traceback to standard error, and nothing else
function Line:on_notice() end

---A program that runs beside this process (lua_command.c).
---@class minigun.program
local Program = {}

---Whether it is over: moves what can be moved
---@return boolean over
function Program:step() end

---The descriptor that is readable when c:step() has something to do, and whether it tells of the end, too
---@return integer fd
---@return boolean tells_end
function Program:fd() end

---To its whole group
---@param signal integer
function Program:kill(signal) end

---Code | nil, signal | nil, out, err, the descriptor that has exceeded the limit | nil; of one that is over. Neither
---code nor signal: somebody else has waited for it
---@return integer? code
---@return integer? signal
---@return string? out
---@return string? err
---@return integer? exceeded
function Program:result() end

---Kills what still runs; may be called twice
function Program:close() end

---A connection of a server (lua_connection.c).
---@class minigun.connection
local Connection = {}

---Bytes | nil, reason, what has come: "*l" (the default), "*a", or a number of bytes; the reason is "closed",
---"timeout", "line too long" (1 MiB) or the system's
---@param pattern string|integer|nil
---@param prefix? string
---@return string? bytes
---@return string? reason
---@return string? partial
function Connection:receive(pattern, prefix) end

---Index of the last byte that was sent | nil, reason, that index
---@param bytes string
---@param from? integer
---@param to? integer
---@return integer? last
---@return string? reason
---@return integer? sent
function Connection:send(bytes, from, to) end

---1: "b" of each wait, "t" of each call; nil or less than 0: no limit
---@param seconds? number
---@param mode? string
---@return integer one
function Connection:settimeout(seconds, mode) end

---1 | nil, reason
---@param how? string
---@return integer? one
---@return string? reason
function Connection:shutdown(how) end

---1; may be called twice
---@return integer one
function Connection:close() end

---Its descriptor; -1: it is closed
---@return integer fd
function Connection:getfd() end

---Whether there are bytes to receive without waiting: a select would not see them
---@return boolean dirty
function Connection:dirty() end

---, c:getsockname() -> host, port, family | nil, reason
---@return string? host
---@return string|integer|nil port
---@return string? family
function Connection:getpeername() end

---As getpeername, of its own end.
---@return string? host
---@return string|integer|nil port
---@return string? family
function Connection:getsockname() end

---Items out of a descriptor, without waiting, or numbers (lua_source.c).
---@class minigun.reader
local Reader = {}

---Its next item | nothing at the end | false: that would wait | nil, message, errno; of a record that is no item, which
---is passed over, that too
---@return any item
---@return string? message
---@return integer? errno
---@return string? record
function Reader:next() end

---Rows are tables with these keys from now on
---@param names string[]
function Reader:names(names) end

---Items are tables with `path`, `number` and `text` from now on
---@param path string
function Reader:placed(path) end

---Passes over a text, where it is what comes first | false: that would wait | nil, message, errno
---@param text string
---@return boolean? done
---@return string? message
---@return integer? errno
function Reader:begins(text) end

---Whether pieces of it lie in blocks: then it is to be closed when they are gone. It reads no more.
---@return boolean described
function Reader:described() end

---Its descriptor | nil: it is closed
---@return integer? fd
function Reader:fd() end

---May be called twice
function Reader:close() end

---An epoll descriptor with the waits of a loop (lua_poll.c).
---A socket that listens for clients of a service | nil, message, errno
---@param path string "@name": one without a file
---@param mode integer of its file
---@param backlog integer
---@return minigun.doorway? doorway
function core.doorway(path, mode, backlog) end

---A connection to a service, which has said hello | nil, message, errno
---@param path string
---@param to_server integer bytes of the ring, 0: as the server likes
---@param to_client integer
---@param most integer bytes of one message from the server
---@return minigun.channel? channel
function core.channel(path, to_server, to_client, most) end

---The uid that this process acts as
---@return integer uid
function core.own_user() end

---@class minigun.doorway
local Doorway = {}

---A connection | false: none waits | nil, message, errno
---@return minigun.channel|false|nil channel
function Doorway:accept() end

---@return integer fd
function Doorway:fd() end

---The socket's file goes too, if it still is this one; may be called twice
function Doorway:close() end

---@class minigun.channel
local Channel = {}

---@return integer? pid
---@return integer uid
---@return integer gid
function Channel:peer() end

---What the client has said, and its version | false: nothing yet | nil, message, errno
---@return string|false|nil said
---@return integer version
function Channel:greeting() end

---True | nil, message, errno
---@param said string
---@param to_server integer bytes of the ring from the client
---@param to_client integer
---@param number integer
---@param most integer bytes of one message
---@return boolean? ok
function Channel:admit(said, to_server, to_client, number, most) end

---@param status "busy"|"refused"|"version"
---@param text string
function Channel:refuse(status, text) end

---The client's number: it is attached | false: not yet | nil, message, errno or status
---@return integer|false|nil number
function Channel:answer() end

---True: it is in the ring; false: it waits, or a part of it | nil, message: it cannot be sent | nil, message, errno
---@param kind integer
---@param number integer
---@param value any
---@return boolean? sent
function Channel:send(kind, number, value) end

---Whether nothing waits any more | nil, message, errno
---@return boolean? gone
function Channel:flush() end

---@return boolean
function Channel:has_room() end

---Kind, number, value, why it cannot be had | nothing: there is none | false, message, errno
---@param free boolean? it may spin
---@return integer|false|nil kind
---@return integer number
---@return any value
---@return string? problem
function Channel:take(free) end

---Whether it may not sleep, as there is something already
---@param wants integer bits of protocol.WANTS_...
---@return boolean
function Channel:sleep(wants) end

---True | nil, what the other side, which has ended, has said to that
---@return boolean? ok
---@return string? why
function Channel:wake() end

---Sleeps until there is something, the time is over, or a signal comes; as `wake`
---@param wants integer
---@param seconds number?
---@return boolean? ok
---@return string? why
function Channel:wait(wants, seconds) end

---@return integer fd -1: it is closed
function Channel:fd() end

---@param why string? the other side is told
function Channel:close(why) end

---@class minigun.poller
local Poller = {}

---True | nil, message, errno. From now on fd is watched for "r", "w" or "rw"; "": not any more
---@param fd integer
---@param mode string
---@return boolean? ok
---@return string? message
---@return integer? errno
function Poller:set(fd, mode) end

---N | nil, message, errno. list is filled with n pairs: a descriptor, and "r", "w" or "rw"
---@param seconds? number
---@param list any[]
---@return integer? n
---@return string? message
---@return integer? errno
function Poller:wait(seconds, list) end

---True | nil, message, errno: p:fd() becomes readable after so long; nil: not by a time. The next p:wait ends at once
---then.
---@param seconds? number
---@return boolean? ok
---@return string? message
---@return integer? errno
function Poller:wake(seconds) end

---The descriptor of what `wake` sets, which is no epoll descriptor | nil: it has not been called
---@return integer? fd
function Poller:timer() end

---True | nil, message, errno: from now on each signal that is counted ends a wait
---@return boolean? ok
---@return string? message
---@return integer? errno
function Poller:ring() end

---The descriptor, which is readable when a watched one is ready
---@return integer fd
function Poller:fd() end

---May be called twice
function Poller:close() end

---Every item of a run, and the place where it is (lua_ledger.c, lua_work.c, lua_place.c).
---@class minigun.ledger
local Ledger = {}

---The numbers that decide, see policy/terms.lua
---@param numbers table
function Ledger:terms(numbers) end

---Hears of work with an origin, attempts or a death that is cut, and of items with an origin that are finished
---@param cut function
---@param finished function
function Ledger:hooks(cut, finished) end

---From now on it hands work to the slots of a pool, and may use so much memory
---@param pool minigun.pool?
---@param memory integer
---@param queue_bytes integer
function Ledger:attach(pool, memory, queue_bytes) end

---What the plan says of a stage: place, producing, continues, terminal, recipe, flags
---@param stage integer
---@param description table
function Ledger:stage(stage, description) end

---A further place: n, first, stages, front, per_worker, threads, most, counted; here, fresh, ordered, told, loops
---@param description table
---@return integer place
function Ledger:add_place(description) end

---The stages that a stage's items go to, besides those of its own process
---@param stage integer
---@param targets integer[]
function Ledger:targets(stage, targets) end

---Adds to what fills up after a stage or place
---@param what string
---@param which integer
---@param place integer
---@param stage integer
---@param most integer
function Ledger:limit(what, which, place, stage, most) end

---Whether a place is before a limited stage, and how many of its items make one there
---@param place integer
---@param on boolean
---@param per number
function Ledger:limited(place, on, per) end

---How many items of a stage make one for what it reaches
---@param stage integer
---@param per number
function Ledger:per(stage, per) end

---Items that a stage has accepted and not finished
---@param stage integer
---@return integer items
function Ledger:pending(stage) end

---Whether no stage has anything pending
---@return boolean empty
function Ledger:is_empty() end

---Whether a stage has come to its end
---@param stage integer
---@return boolean drained
function Ledger:drained(stage) end

---Says whether it has
---@param stage integer
---@param on boolean
function Ledger:drain(stage, on) end

---Whether some stage may be drained now; sets it
---@param on boolean?
---@return boolean before
function Ledger:changed(on) end

---Whether an update goes on, or was cut in two; sets it
---@param on boolean?
---@return boolean before
function Ledger:torn(on) end

---What changes with each item that is accepted, and with each call that says so
---@param on boolean?
---@return integer moved
function Ledger:moved(on) end

---Whether producers wait, whatever there is room for; sets it
---@param on boolean?
---@return boolean before
function Ledger:paused(on) end

---What was counted since the last time: items in and out, seconds busy and without room, the most that waited, classes
---of times
---@param stage integer
---@return integer items_in
---@return integer items_out
---@return number busy
---@return number waiting_out
---@return integer queue_most
---@return table? classes
function Ledger:counts(stage) end

---Asserts the invariants: see mg_ledger_check
function Ledger:check() end

---Takes in work that a table describes (base/work.lua): into the "queue", as "waiting", or in "hand"
---@param description table
---@param where string
---@return integer work
function Ledger:enter(description, where) end

---A stage accepts a Lua value
---@param stage integer
---@param value any
---@param bytes integer
---@param lane integer?
---@return integer work
function Ledger:accept_value(stage, value, bytes, lane) end

---A stage accepts items as bytes, with their reference
---@param stage integer
---@param block integer|false
---@param offset integer
---@param length integer
---@param count integer
---@param only integer
---@param lane integer?
---@return integer work
function Ledger:accept(stage, block, offset, length, count, only, lane) end

---The end of the input of a loop, for one worker; held
---@param stage integer
---@param lane integer?
---@return integer work
function Ledger:end_of(stage, lane) end

---Describes work
---@param work integer
---@return table work
function Ledger:read(work) end

---Keeps a value as long as there is this work
---@param work integer
---@param kind integer
---@param value any
function Ledger:keep(work, kind, value) end

---What is kept
---@param work integer
---@param kind integer
---@return any value
function Ledger:kept(work, kind) end

---Puts work that is held into its place's queue
---@param work integer
---@param in_front boolean?
function Ledger:push(work, in_front) end

---Work that has waited goes into its place's queue
---@param work integer
function Ledger:wake(work) end

---One item for a worker or thread | nil | nil, the stage whose block is damaged
---@param place integer
---@param worker integer
---@return integer? work
---@return integer? damaged
function Ledger:take(place, worker) end

---The first work that is for this worker only; held
---@param place integer
---@param worker integer
---@return integer? work
function Ledger:take_lane(place, worker) end

---Each of its items is to be committed by itself
---@param work integer
function Ledger:singly(work) end

---Its bytes were read, and its reference is given up
---@param work integer
function Ledger:unload(work) end

---Its first n items, held
---@param work integer
---@param n integer
---@return integer part
function Ledger:cut(work, n) end

---So many of its items are finished, by default all that are not
---@param work integer
---@param n integer?
function Ledger:finish(work, n) end

---It is gone; all of its items are finished
---@param work integer
function Ledger:drop(work) end

---Pieces of work that wait for the coordinator's own stages; how many have come
---@return integer waiting
---@return integer come
function Ledger:own() end

---The oldest of which none has to wait: its stage, items, whether it is bytes, whether they are a source's
---@return integer? stage
---@return integer? items
---@return boolean? is_bytes
---@return boolean? is_source
function Ledger:oldest_own() end

---Takes items of the oldest work of a stage into the coordinator's hand, 0: all of them
---@param stage integer
---@param n integer
---@return integer work
---@return integer items
---@return integer|false block
---@return integer offset
---@return integer length
---@return integer only
---@return integer attempt
---@return integer? first
function Ledger:take_own(stage, n) end

---Its items are finished, and it is gone
---@param work integer
function Ledger:done_own(work) end

---Whether the stages that send to it should wait
---@param place integer
---@return boolean full
function Ledger:full(place) end

---Whether what it sends to is full
---@param place integer
---@return boolean blocked
function Ledger:blocked(place) end

---Whether a stage of the coordinator has to wait
---@param stage integer
---@return boolean waits
function Ledger:waits(stage) end

---Whether a producer of the coordinator has to
---@param stage integer
---@return boolean waits
function Ledger:must_wait(stage) end

---How many items it may begin, as far as those after it are concerned
---@param place integer
---@return number room
function Ledger:room(place) end

---The same for a stage of the coordinator
---@param stage integer
---@return number room
function Ledger:room_of_stage(stage) end

---Whether a place that it reaches has anything to do
---@param stage integer
---@return boolean any
function Ledger:any_at_work(stage) end

---How many of its items are begun
---@param stage integer
---@return integer items
function Ledger:in_work(stage) end

---Items in its queues, bytes, items in its hands
---@param place integer
---@return integer queued
---@return integer bytes
---@return integer in_hand
function Ledger:queued(place) end

---The stage that all its items have come to
---@param place integer
---@return integer? stage
function Ledger:only_way_in(place) end

---Prepares for work that only one worker may have
---@param place integer
function Ledger:open_lanes(place) end

---Ordinals up to the head, or below the limit, may be begun
---@param place integer
---@param head integer
---@param limit integer
function Ledger:order(place, head, limit) end

---Whether the workers of a loop stage know that nothing more comes; sets it
---@param stage integer
---@param on boolean?
---@return boolean before
function Ledger:no_more(stage, on) end

---No more work comes to it
---@param place integer
function Ledger:finishing(place) end

---Hands work to its workers | "damaged", stage | a slot that needs a process first, and the work for it | nil, and what
---`supply` gives
---@param place integer
---@return boolean|string handed
---@return integer? slot
---@return integer|boolean work_or_lacking
---@return number? look_at
function Ledger:dispatch(place) end

---Gives its workers blocks; whether one lacks one still, and when to look again for workers that are overdue
---@param place integer
---@return boolean lacking
---@return number? look_at
function Ledger:supply(place) end

---How large a block is that one waits for
---@param place integer
---@return integer bytes
function Ledger:wanted(place) end

---Whether it could do more, and finds nothing in its queue; nil: any place but the coordinator's own
---@param place integer?
---@return boolean idles
function Ledger:idles(place) end

---Whether something will end a sleep of the coordinator
---@param place integer
---@return boolean wakes
function Ledger:wakes(place) end

---Whether a worker has something in hand
---@param place integer
---@return boolean working
function Ledger:working(place) end

---How many workers live
---@param place integer
---@return integer alive
function Ledger:alive(place) end

---How many slices have been handed out
---@param place integer
---@return integer chunks
function Ledger:chunks(place) end

---Seconds per item
---@param place integer
---@return number? seconds
function Ledger:rate(place) end

---So long have n items of one of the coordinator's own stages taken
---@param stage integer
---@param seconds number
---@param n integer
function Ledger:learn(stage, seconds, n) end

---How many of them are to be run at once
---@param stage integer
---@return integer n
function Ledger:slice(stage) end

---A process is there
---@param slot integer
function Ledger:seat_taken(slot) end

---It has ended; vacant: another one is forked when there is work for it
---@param slot integer
---@param vacant boolean?
function Ledger:seat_left(slot, vacant) end

---Pieces of work in hand, whether it ends, is retired; items done, seconds in handlers
---@param slot integer
---@return integer hands
---@return boolean ends
---@return boolean retired
---@return integer items
---@return number busy
function Ledger:seat(slot) end

---The work in its hand, the oldest first
---@param slot integer
---@return integer[] works
function Ledger:hands(slot) end

---Whether "done" of this worker comes as an event
---@param slot integer
---@param on boolean
function Ledger:tell(slot, on) end

---No more work is for it, it ends
---@param slot integer
function Ledger:retire(slot) end

---No more work is for it but what is offered; the end of each slice is told as "retire"
---@param slot integer
function Ledger:leaving(slot) end

---Hands it held work
---@param slot integer
---@param work integer
---@return boolean taken
function Ledger:offer(slot, work) end

---The work of a chunk, or that which the worker is at
---@param slot integer
---@param number integer?
---@return integer? work
function Ledger:hand(slot, number) end

---The ordinal of its first unfinished item
---@param slot integer
---@param number integer?
---@return integer? ordinal
function Ledger:at(slot, number) end

---A dead worker's slice, cut to what is unfinished, held
---@param slot integer
---@param number integer
---@param block integer|false
---@param offset integer
---@param length integer
---@param count integer
---@param only integer
---@return integer? work
function Ledger:left(slot, number, block, offset, length, count, only) end

---Takes what workers have said, up to the next event for the run
---@param busy boolean?
---@return boolean busy
---@return string? kind
---@return any ...
function Ledger:collect(busy) end

---What a "done" that has come as an event says
---@param slot integer
---@param number integer
---@param items integer
---@param ended boolean
---@param seconds number
function Ledger:done(slot, number, items, ended, seconds) end

---It has so many workers or threads from now on, and so many items may wait for them
---@param place integer
---@param n integer
---@param most integer
function Ledger:resize(place, n, most) end

---How many single items it could begin at once
---@param place integer
---@return integer n
function Ledger:free(place) end

---Its worker is about to be killed, or is not ready: no work is for it; or, with false, there is again
---@param slot integer
---@param ends? boolean
function Ledger:ends(slot, ends) end

---Whether what its worker has in store is in the queue again
---@param slot integer
---@return boolean revoked
function Ledger:revoke(slot) end

---Queued work that has come of that, held
---@param place integer
---@param origin any
---@return integer? work
function Ledger:withdraw(place, origin) end

---What coroutine.resume(thread, answer) gives when a producer does something else than to wait for receivers; rounds
---are gone through meanwhile
---@param thread thread
---@param answer any
---@param chain minigun.chain
---@param reentry table
---@param until_when number
---@param stage integer
---@param alone boolean
---@return boolean ok
---@return any first
---@return any second
---@return number seconds
---@return number most
---@return boolean wanted
function Ledger:among(thread, answer, chain, reentry, until_when, stage, alone) end

---Lets workers have what waits for them and takes what they have done, until an answer has ended; false: there was
---nothing to wait for, or the run itself has something to see to, which `wanted` says
---@param until_when number
---@param spins boolean
---@param sleeps boolean
---@return boolean ended
---@return boolean wanted
function Ledger:await(until_when, spins, sleeps) end

---From now on the origins of work are those of answers; `lists`: there may be several values of one
---@param answers table
---@param lists boolean
function Ledger:answers(answers, lists) end

---Writes and queues the item of an answer, if it can be begun at once
---@param writer minigun.writer
---@param stage integer
---@param answer table
---@return boolean begun
function Ledger:submit(writer, stage, answer) end

---Work whose block does not hold what was announced, and how many items were found
---@return integer? work
---@return integer? found
function Ledger:ill() end

---The coroutine that emits now, where it may yield to wait for receivers
---@param thread thread?
function Ledger:producer(thread) end

---The slots and the memory of a run (lua_pool.c, lua_slot.c, lua_reader.c).
---@class minigun.pool
local Pool = {}

---Keep: the descriptor that p:fd() has given stays open until the next p:close()
---@param keep? boolean
function Pool:close(keep) end

---Pid | nil, message, errno. In the child: f(worker, ...), then the process ends with the integer that f returns, or
---0.
---@param slot integer
---@param held_most integer
---@param f fun(worker: minigun.worker, ...: any): integer?
---@param ... any
---@return integer? pid
---@return string? message
---@return integer? errno
function Pool:spawn(slot, held_most, f, ...) end

---Reads what the workers have published.
function Pool:collect() end

---Kind, slot, ... | nothing. By kind: "out" block, offset, length, count, edge, number committed output; the block is
---given; number: of the chunk, where the slot is wide "done" number, items, ended, streamed, seconds "need" bytes
---"left" number, block, offset, length, count, only, stage, attempt, done before, in hand, how, step "exit" pid, code,
---signal, expected; code and signal are nil where it is not known how it ended "said" last: p:said(slot) gives it
---"corrupt" pid "rest" number, block, offset, length, count, only not begun: the chunk ends before it
---@return string? kind
---@return integer? slot
---@return any ...
function Pool:event() end

---True | false when a signal came | nil, message, errno. nil waits without end.
---@param seconds? number
---@return boolean? whole
---@return string? message
---@return integer? errno
function Pool:wait(seconds) end

---Bytes used, resident, most used; zeros of a closed pool
---@return integer used
---@return integer resident
---@return integer most
function Pool:memory() end

---Bytes of the mapping: all that can be in use
---@return integer bytes
function Pool:size() end

---Adds a reference to a block.
---@param block integer
function Pool:retain(block) end

---Drops a reference to a block.
---@param block integer
function Pool:release(block) end

---Asserts the invariants of the pool: see mg_pool_check.
function Pool:check() end

---The epoll descriptor, for an event loop of another library: see p:arm.
---@return integer fd
function Pool:fd() end

---Whether p:fd() is readable now | nil, message, errno. See mg_pool_arm.
---@param seconds? number
---@return boolean? readable
---@return string? message
---@return integer? errno
function Pool:arm(seconds) end

---True | nil, message, errno. See mg_pool_watch.
---@param fd integer
---@return boolean? ok
---@return string? message
---@return integer? errno
function Pool:watch(fd) end

---True | nil, message, errno: from now on what the workers that are forked print comes by "said"
---@param which integer
---@return boolean? ok
---@return string? message
---@return integer? errno
function Pool:relay(which) end

---Some of what its worker has printed | nil: nothing more, for now
---@param slot integer
---@return string? text
function Pool:said(slot) end

---Whether there are events, or workers have published what is not read yet
---@return boolean anything
function Pool:anything() end

---Offset after `most` items, of edge `only`; how many there were; of what is after them, `only` | nil when the block is
---damaged. Of a piece the offset stays.
---@param block integer
---@param offset integer
---@param length integer
---@param only integer
---@param most integer
---@return integer? after
---@return integer? count
---@return integer? rest
function Pool:walk(block, offset, length, only, most) end

---{ [edge] = count } of a range that mixes several | nil when it is damaged
---@param block integer
---@param offset integer
---@param length integer
---@return table<integer,integer>? counts
function Pool:edges(block, offset, length) end

---Offset after it, value, what is wrong: see `decode` | nil, message. The first record of edge `only` from offset `at`
---on; nothing when there is none before `limit`. plain: no load hook is called, their objects' contents stand for
---them.
---@param block integer
---@param at integer
---@param limit integer
---@param only integer
---@param plain? boolean
---@return integer? after
---@return any value
---@return any wrong
function Pool:decode(block, at, limit, only, plain) end

---N after appending every record's value, nil or an array of { item, message } of those that cannot be had, which are
---appended only with `all` | nil, message: the range is damaged
---@param list any[]
---@param n integer
---@param block integer
---@param offset integer
---@param length integer
---@param only integer
---@param all? boolean
---@return integer? n
---@return any wrong
function Pool:decode_into(list, n, block, offset, length, only, all) end

---The records' values, as the elements of an array of strings; how many. nil: the range is damaged, or a piece
---@param block integer
---@param offset integer
---@param length integer
---@param only integer
---@return string? elements
---@return integer? n
function Pool:strings(block, offset, length, only) end

---N strings, which are elements of an array, are the values of records of that edge in a new block, whose reference is
---given. False: there is no memory for it; nil: they are not n strings
---@param elements string
---@param n integer
---@param edge integer
---@param refs boolean
---@return integer|false|nil block
---@return integer? bytes
function Pool:records(elements, n, edge, refs) end

---Cursor, which is called for the next value. The block must stay held meanwhile.
---@param block integer
---@param offset integer
---@param length integer
---@param only integer
---@return minigun.cursor cursor
function Pool:cursor(block, offset, length, only) end

---The slot is live without a process, for tests of what is handed to it
---@param slot integer
function Pool:play(slot) end

---Boolean: false when the slot is full. Takes the block (if there is one) when it returns true.
---@param slot integer
---@param number integer
---@param block integer|false
---@param offset integer
---@param length integer
---@param count integer
---@param only integer
---@param stage integer
---@param attempt integer
---@param flags integer
---@return boolean taken
function Pool:offer(slot, number, block, offset, length, count, only, stage, attempt, flags) end

---True | nil, message, errno: for a worker with threads, before its first spawn. The slot then takes chunks of one
---item each, flagged MG_CHUNK_SET, and has room for so many.
---@param slot integer
---@param chunks integer
---@return boolean? ok
---@return string? message
---@return integer? errno
function Pool:make_threaded(slot, chunks) end

---Bytes lent, or false when there is no memory or no room
---@param slot integer
---@param bytes integer
---@return integer|false lent
function Pool:lend(slot, bytes) end

---No more chunks for it
---@param slot integer
---@return boolean told
function Pool:finish(slot) end

---Number, block, offset, length, count, only: the newest chunk, not begun | nothing
---@param slot integer
---@return integer? number
---@return integer|false|nil block
---@return integer? offset
---@return integer? length
---@return integer? count
---@return integer? only
function Pool:revoke(slot) end

---The producer in its hand ends at its next emit
---@param slot integer
function Pool:stop(slot) end

---@param slot integer
---@param signal? integer
---@return boolean? ok
---@return string? message
---@return integer? errno
function Pool:kill(slot, signal) end

---Seconds the item in hand has taken (see clock.h), and its mark for p:time_out
---@param slot integer
---@return number seconds
---@return integer mark
function Pool:overtime(slot) end

---Kills the worker for the item that has this mark
---@param slot integer
---@param mark integer
function Pool:time_out(slot, mark) end

---Chunks in its ledger, blocks lent to it, held ranges
---@param slot integer
---@return integer chunks
---@return integer lent
---@return integer held
function Pool:state(slot) end

---A child of a loop (lua_process.c).
---@class minigun.process
local Process = {}

---The descriptor that is readable when it has ended | nil, and whether p:reap() has to be called now and then besides
---@return integer? fd
---@return boolean look
function Process:fd() end

---False: it lives | true, code | nil, signal | nil, core, max_rss (bytes) | nil, cpu (seconds) | nil. Once after it
---has ended
---@return boolean ended
---@return integer? code
---@return integer? signal
---@return boolean? core
---@return integer? max_rss
---@return number? cpu
function Process:reap() end

---It is not watched any more, and stays to be waited for; may be called twice
function Process:close() end

---Ctrl-C, as long as a run is open (lua_signal.c).
---@class minigun.guard
local Guard = {}

---The coroutine that is about to run; without one: the caller's own runs again
---@param thread? thread
function Guard:watch(thread) end

---May be called twice
function Guard:close() end

---A file of values (lua_spool.c).
---@class minigun.page
local Page = {}

---The whole of its contents from now on: true | nil, message, errno
---@param bytes string
---@return true? written
---@return string? message
---@return integer? errno
function Page:write(bytes) end

---It is gone
function Page:close() end

---@class minigun.spool_file
local SpoolFile = {}

---True | nil, message, errno | false, message: the value cannot be serialised | false: closed
---@param value any
---@return boolean? written
---@return string? message
---@return integer? errno
function SpoolFile:write(value) end

---True | nil, message, errno
---@return boolean? ok
---@return string? message
---@return integer? errno
function SpoolFile:sync() end

---True | nil, message, errno
---@return boolean? ok
---@return string? message
---@return integer? errno
function SpoolFile:close() end

---Boolean
---@return boolean closed
function SpoolFile:closed() end

---Reader | nil, message, errno
---@return minigun.spool_reader? reader
---@return string? message
---@return integer? errno
function SpoolFile:reader() end

---True | nil, message, errno (EAGAIN: somebody else holds it): see mg_spool_hold
---@return boolean? ok
---@return string? message
---@return integer? errno
function SpoolFile:hold() end

---The records of such a file (lua_spool.c).
---@class minigun.spool_reader
local SpoolReader = {}

---True, value | true, what stands for a value that cannot be had or nil, what is wrong | false: the end | nil,
---message, errno. The next call goes on after that.
---@return boolean? more
---@return any value
---@return any wrong
function SpoolReader:next() end

---{ records =, bytes =, places =, { offset =, bytes = }... }: of what has been read so far
---@return table damage
function SpoolReader:damage() end

---What is known of damage stays
function SpoolReader:close() end

---A child's side of its slot (lua_worker.c, lua_threads.c).
---@class minigun.worker
local Worker = {}

---Stage, count, attempt, kind, number | nil at the end. kind: "items", "singly" (items that are to be committed one by
---one), "inherited" (no bytes: the value came with the fork) or "producer"
---@return integer? stage
---@return integer? count
---@return integer? attempt
---@return string? kind
---@return integer? number
function Worker:next() end

---True when the chunk is through, whether the handler returned a value | false, error, items done, whether the item
---after those cannot be had ("malformed": of a piece): that one has failed, its output is forgotten; call w:commit() to pass over it, then w:run
---again
---@param handler function|minigun.chain a chain, after its c:worker: its entry gets the items
---@param emit minigun.emit|nil
---@param ctx any
---@param on_error function
---@param value any
---@return boolean through
---@return any what
---@return integer? done
---@return boolean|string|nil unreadable
function Worker:run(handler, emit, ctx, on_error, value) end

---A callable that emits on that edge; addresses, or nil: for emit:to, what a name means: a stage's number, an array of
---them, or the string that is the error
---@param edge integer
---@param addresses? table
---@return minigun.emit emit
function Worker:emitter(edge, addresses) end

---A record of the library's own, valid also between items
---@param edge integer
---@param value any
function Worker:send(edge, value) end

---The item in hand is finished: its output is committed.
function Worker:commit() end

---Whether a producer has been ended by p:stop
---@return boolean stopped
function Worker:stopped() end

---Ends the chunk in hand.
function Worker:end_chunk() end

---The items of the chunk in hand are committed together; flush() is called before that, and emits what belongs to all
---of them. Call it before w:end_chunk too.
---@param flush fun()
function Worker:together(flush) end

---How many items of the chunk come before the one in hand
---@return integer index
function Worker:index() end

---What hooks have sent
function Worker:publish() end

---Function (part): the item in hand goes on to this part of it; 0: to none
---@return fun(part:integer) step
function Worker:stepper() end

---The part that the item in hand was at, which it is not any more | nil
---@return integer? part
function Worker:step() end

---F(value, message) is called for what is emitted and cannot be serialised, instead of an error
---@param f fun(value: any, message: string)
function Worker:on_refused(f) end

---That list, of a batch whose handler has raised | nil
---@return any[]? list
function Worker:left_out() end

---F(list) is called when the handler has returned for a batch whose items { item, message } of the list cannot be had,
---and are not in it; for its error see w:left_out. Where none is left of it the handler is called with nil, or, with
---skip, not at all.
---@param f fun(list: any[])
---@param skip? boolean
function Worker:on_left_out(f, skip) end

---Index, stage, attempt, kind, value, refused: a chunk is begun, its item decoded; kind as of w:next; refused: of a
---batch the array of { item, message } of those that cannot be had; or index, stage, attempt, "unreadable", message |
---nil: none at present | false: no more come
---@return integer? index
---@return integer? stage
---@return integer? attempt
---@return string? kind
---@return any value
---@return any refused
function Worker:take() end

---The item of a begun chunk is finished, and the bundle its output: the commit. Empties the bundle.
---@param index integer
---@param bundle minigun.bundle
function Worker:finish(index, bundle) end

---A handler of that chunk runs, at this part of the item, and is late when the clock is at `seconds` plus the
---segment's time-out; w:mark(): none runs
---@param index? integer
---@param seconds? number
---@param part? integer
function Worker:mark(index, seconds, part) end

---See mg_worker_rest
---@param fd integer
---@param want boolean
---@param seconds? number
function Worker:rest(fd, want, seconds) end

---How many chunks wait to be begun | false: none, and no more come
---@return integer|false n
function Worker:offered() end

---What an item has emitted, until the thread's item is finished (lua_threads.c).
---@class minigun.bundle
local Bundle = {}

---Raises, and nothing is added, when the value cannot be serialised
---@param edge integer
---@param value any
function Bundle:add(edge, value) end

---Called with a value: emits it (lua_worker.c).
---@class minigun.emit
---@overload fun(value: any)
local Emit = {}

---Sends an item to a stage by its name.
---@param name string
---@param item any
function Emit:to(name, item) end

---The open block of an edge that begins in the coordinator; called with a value: emits it (lua_writer.c, lua_array.c).
---@class minigun.writer
---@overload fun(value: any)
local Writer = {}

---Emit:to, for which on_to is called with the same arguments
---@param name string
---@param item any
function Writer:to(name, item) end

---Block, offset, length, count, only of what was written since the last take (one reference is given) | nil. A block
---that is larger than usual, for a large item, is left then: small ones must not hold it while they fill it.
---@return integer? block
---@return integer? offset
---@return integer? length
---@return integer? count
---@return integer? only
function Writer:take() end

---What a source gives may go as pieces, to be read where it is received
function Writer:pieces() end

---True | false when memory is exhausted. Leaves the open block, which must have been taken from; an array that is
---being joined moves into the new one, which is larger if it must.
---@param bytes integer
---@return boolean opened
function Writer:open(bytes) end

---Items written and not taken, bytes free in the open block
---@return integer count
---@return integer free
function Writer:pending() end

---Values become elements of the arrays of another writer, as long as that has arrays. What this one has written must
---have become elements before.
---@param other minigun.writer
function Writer:into(other) end

---Whether from now on what is written goes straight to these stages
---@param ledger minigun.ledger
---@param stage integer
---@param targets integer[]
---@param lane integer?
---@return boolean through
function Writer:through(ledger, stage, targets, lane) end

---Passes on what is written into the open block of a writer that goes straight through: how many items
---@return integer n
function Writer:pass() end

---A producer emits with it, and what it has emitted is counted when it goes through
function Writer:emits() end

--- Calls `on_full` after each item, with -1 where there is no other reason to.
function Writer:singly() end

---Values that have become elements of arrays of another writer, since the last time; whether the next one would
---@return integer n
---@return boolean next
function Writer:sent() end

---Elements in the open array, offset after the last record that was taken, whether the next one must be decoded as it
---nests too deeply | nil when the range is damaged. Adds records of edge `only` until the array has `most` elements or
---at least so many bytes. number >= 0: see mg_join_begin; it counts where an array begins. The block must stay held
---meanwhile.
---@param most integer
---@param number integer
---@param block integer
---@param offset integer
---@param length integer
---@param only integer
---@param bytes integer
---@return integer? elements
---@return integer? after
---@return boolean? deep
function Writer:join(most, number, block, offset, length, only, bytes) end

---The open array is complete, the value of a record like any other
function Writer:join_end() end

---The open array as a value, nil or the array of { item, message } of those that cannot be had and are not in it; it
---is not written | nil, message
---@return any[]? array
---@return any wrong
function Writer:join_take() end

---How many elements an array has that other writers write; 0: they may not
---@param most integer
function Writer:arrays(most) end

---Elements in the open array, 0: there is none; arrays that other writers have completed since the last time
---@return integer elements
---@return integer closed
function Writer:joining() end

---On_full is called when so long has gone by since the last time; it may let others go on
---@param seconds number
function Writer:patience(seconds) end

---What is emitted are arrays of items; pair: pairs of a number and such an array
---@param pair boolean
function Writer:batches(pair) end

---Gives up the open block; may be called twice.
function Writer:close() end

return core
