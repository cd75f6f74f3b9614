/* wake.pml - sleeping and waking (src/core/event.h) as a model for spin: no wake-up is lost.
 *
 * One side publishes WORK pieces of work and may be killed at any step, the other takes them and sleeps when there are
 * none. Both write through a store buffer of one entry, which the machine may empty at any later moment and a fence
 * empties at once: that is how x86 reorders, and all that the protocol relies on elsewhere is release and acquire.
 * Checked: the sleeper never sleeps for ever while there is work, or while the other side is dead. -DFAULT=n leaves out
 * what must be there; the model must then find the loss.
 *
 *   here            in src/
 *   S1 .. S5, W1 .. W4   the steps at the top of event.h: mg_event_prepare, sleep_until in worker.c and mg_pool_wait in
 *                        wait.c; mg_event_signal
 *   pidfd           a worker's death wakes the coordinator; the coordinator's wakes a worker, by its life-line
 */
#ifndef FAULT
#define FAULT 0   /* 1: no fence in S2  2: no fence in W2  3: no look in S3  4: the flag is cleared after the write
                     5: a death wakes no side */
#endif
#define WORK 3

byte head = 0;            /* ring: published */
bool asleep = false;
byte bell = 0;         /* rung and not heard */
bool pidfd = false;
byte taken = 0;
bool died = false;

/* The waker's buffer holds a head, the sleeper's a value of the flag. */
bool head_buffered = false, flag_buffered = false;
byte head_to_be = 0;
bool flag_to_be = false;

#define DRAIN_HEAD d_step { head_buffered -> head = head_to_be; head_buffered = false; head_to_be = 0 }
#define DRAIN_FLAG d_step { flag_buffered -> asleep = flag_to_be; flag_buffered = false; flag_to_be = false }

active proctype memory() {
end: do
  :: DRAIN_HEAD
  :: DRAIN_FLAG
  od
}

#define DIE if :: atomic { died = true; goto gone } :: true fi

active proctype waker() {
  byte made = 0;
  bool was;
  do
  :: made < WORK ->
     DIE;
     atomic { !head_buffered -> made++; head_to_be = made; head_buffered = true } /* W1 */
     DIE;
#if FAULT != 2
     !head_buffered;                                                              /* W2 */
#endif
     DIE;
     if
     :: asleep ->                                                                 /* W3 */
        DIE;
#if FAULT == 4
        bell++;
        DIE;
        d_step { was = asleep; asleep = false }
        was = false
#else
        /* W4: an exchange is a fence; what the sleeper has in its buffer comes to memory later */
        d_step { was = asleep; asleep = false }
        DIE;
        if
        :: was -> bell++; was = false
        :: !was
        fi
#endif
     :: !asleep
     fi
  :: made == WORK -> goto done /* it lives on, and has no more work */
  od;
gone:
  !head_buffered; /* what a process has stored comes to memory also when it is dead */
#if FAULT != 5
  pidfd = true;
#endif
done: skip
}

active proctype sleeper() {
  do
  :: taken < head -> taken = head
  :: taken == head && (pidfd || taken == WORK) -> break
  :: taken == head && !pidfd && taken < WORK ->
     atomic { !flag_buffered -> flag_to_be = true; flag_buffered = true }         /* S1 */
#if FAULT != 1
     !flag_buffered;                                                              /* S2 */
#endif
#if FAULT != 3
     if
     :: taken < head ->                                                           /* S3, S4 */
        atomic { !flag_buffered -> flag_to_be = false; flag_buffered = true }
     :: taken == head ->
        bell > 0 || pidfd;                                                     /* S5: wait */
        bell = 0;
        atomic { !flag_buffered -> flag_to_be = false; flag_buffered = true }
     fi
#else
     bell > 0 || pidfd;
     bell = 0;
     atomic { !flag_buffered -> flag_to_be = false; flag_buffered = true }
#endif
  od;
  assert(taken == head && (died || taken == WORK))
}
