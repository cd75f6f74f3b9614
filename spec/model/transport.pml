/* transport.pml - the transport of src/core/slot*.c and worker.c as a model for spin: lend, offer, commit, recover.
 *
 * Two slots, workers that may die between any two steps, items that emit two records each into blocks of three, so that
 * an item's output may lie in two blocks.  Checked: every record is delivered exactly once; no block is lent while
 * a process holds it; nothing is stuck before everything is delivered.  `make model` runs it, and then once with each
 * of the faults below, which it must find (-DFAULT=n): a model that finds nothing proves nothing.
 *
 *   here                      in src/
 *   offer                     mg_slot_offer, mg_ring_push
 *   lend                      mg_slot_lend; Run:may_lend in lua/minigun/run/transport.lua (`over` may overdraw)
 *   revoke                    mg_slot_revoke
 *   C1, C2, C4                mg_slot_shorten; the barrier between is that the steps of a model come one after another.
 *                             Its absence is fault 7: a load that comes before an earlier store
 *   give_rest                 give_rest(), where a descriptor ends a chunk before its last item
 *   take_one                  take() with give_held, advance and hold, called by mg_slot_collect
 *   take_commit               take_commit(), called by mg_slot_peek and mg_slot_recover
 *   recover                   mg_slot_recover with end_finished and give_left
 *   worker: next              mg_worker_next (the claim)
 *   worker: emit              mg_worker_reserve with open_block, mg_worker_append
 *   worker: finish            mg_worker_commit: ONE store of generation, done and offset; then limited()
 *   worker: pass, with -DTOGETHER   mg_worker_pass: the item is finished, and committed with the next one or the last;
 *                             `step` says which one is begun
 *   TELL                      tell()
 *   DIE                       kill -9, a MG_POINT
 *
 * Left out: what a record holds, time-outs, producers (output of no chunk), streaming of held output, the failure after
 * the last attempt (here an item is tried for ever; deaths are bounded).
 */
#ifndef ITEMS
#define ITEMS 3
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef EXTRAS
#define EXTRAS 2  /* of what need not happen: revocations, limits, peeks, descriptors between items */
#endif
#ifndef MOST
#define MOST 2    /* items of a chunk */
#endif
#ifndef FAULT
#define FAULT 0   /* 1: two stores for a commit  2: the word counts whatever its generation
                     3: held output is delivered at once  4: all of a dead worker's chunk is done again
                     5: a block is free while its output is held  6: a chunk is taken back without a claim
                     7: the limit is read before the commit is written  8: the rest is taken without a second look
                     9: the rest of a chunk that the worker has ended early is forgotten
                     10: a chunk's limit may be set anew
                     11: C4 does not look at the step  12: the step is written after the limit was read */
#endif
#define SLOTS 2
#define PER 2      /* records of an item */
#define CAP 3      /* records of a block */
#define LIMIT 2    /* blocks; one worker may overdraw */
#define BLOCKS 3
#define CHUNKS 2   /* chunks in a slot's ledger */
#define RING 2
#define NONE 255

mtype = { CHUNK, BLOCK };

/* shared memory */
chan in_ring[SLOTS] = [CHUNKS + 2] of { mtype, byte, byte, byte };  /* kind, first item or block, count, seq */
chan out_ring[SLOTS] = [RING] of { byte, byte, byte, byte, byte, bool, bool, bool };
             /* block, offset, length, sure, done, the block is finished, the chunk is, a block is wanted */
byte gen[SLOTS], word_done[SLOTS], word_offset[SLOTS];                        /* the commit word */
byte content[9];                                                              /* of the blocks: which record */
byte claim[4];                                                                /* 0 offered, 1 taken, 2 revoked */
byte limit[4];                    /* of the chunk with this claim; NONE: none.  Here each has a word of its own */
byte step[SLOTS];                 /* which item of the chunk is begun, from 1 */
bool dead[SLOTS];                                                             /* what the pidfd says */

/* the coordinator's */
bool queued[ITEMS];
byte first[4], count[4];          /* the ledger: per slot a queue of CHUNKS */
byte seen[SLOTS];                 /* done, when the limit was set */
byte chunks[SLOTS], seq[SLOTS], done[SLOTS], published[SLOTS], ahead[SLOTS], received[SLOTS];
byte open[SLOTS];                 /* the lent block */
bool wants[SLOTS];
byte refs[BLOCKS];
byte held_block[6], held_from[6], held_length[6], helds[SLOTS];
byte over = NONE;
byte delivered[6];
byte finished = 0, deaths = 0, extras = EXTRAS;
byte i, j, b, n, from, done_now;   /* scratch, only used within d_step */
byte d_block, d_offset, d_length, d_sure, d_done;
bool d_ret, d_end, d_need;

/* --- the coordinator --------------------------------------------------------------------------------------------- */

inline deliver(block, offset, length) {
  for (i : offset .. (offset + length - 1)) {
    assert(content[block * CAP + i] != NONE);
    assert(delivered[content[block * CAP + i]] == 0);         /* nothing twice */
    delivered[content[block * CAP + i]] = 1;
  }
}

inline release(block) {
  assert(refs[block] > 0);
  refs[block] = refs[block] - 1;
  if
  :: refs[block] == 0 ->
     content[block * CAP] = NONE; content[block * CAP + 1] = NONE; content[block * CAP + 2] = NONE
  :: else
  fi
}

inline give_held(s) {
  for (j : 0 .. (helds[s] - 1)) {
    deliver(held_block[s * 3 + j], held_from[s * 3 + j], held_length[s * 3 + j]);
#if FAULT != 5
    release(held_block[s * 3 + j]);
#endif
    skip
  }
  helds[s] = 0
}

inline drop_held(s) {
  for (j : 0 .. (helds[s] - 1)) {
#if FAULT != 5
    release(held_block[s * 3 + j]);
#endif
    skip
  }
  helds[s] = 0
}

inline pop_chunk(s) {
  first[s * CHUNKS] = first[s * CHUNKS + 1];
  count[s * CHUNKS] = count[s * CHUNKS + 1];
  first[s * CHUNKS + 1] = 0; count[s * CHUNKS + 1] = 0;
  chunks[s] = chunks[s] - 1;
  done[s] = 0
}

inline advance(s, to_done, ended) {
  finished = finished + to_done - done[s];
  if
  :: to_done > done[s] && over == s -> over = NONE           /* Run:release_overdraft */
  :: else
  fi;
  done[s] = to_done;
  if
  :: ended -> pop_chunk(s)
  :: else
  fi
}

#define oldest(s) (s * CHUNKS + (seq[s] + CHUNKS - chunks[s]) % CHUNKS)

/* Cuts the oldest chunk after n items: what is after them is queued again. */
inline cut(s, n) {
  for (i : n .. (count[s * CHUNKS] - 1)) {
#if FAULT == 9
    skip
#else
    queued[first[s * CHUNKS] + i] = true
#endif
  }
  count[s * CHUNKS] = n
}

inline give_rest(s) {
  assert(limit[oldest(s)] != NONE && d_done >= limit[oldest(s)]);
  cut(s, d_done);
  i = 0
}

inline take_one(s) {
  out_ring[s] ? d_block, d_offset, d_length, d_sure, d_done, d_ret, d_end, d_need;
  received[s] = (received[s] + 1) % 4;
  if
  :: d_end && d_done < count[s * CHUNKS] -> give_rest(s)
  :: else
  fi;
  if
  :: d_length > 0 -> assert(d_block == open[s] && d_offset == published[s] && d_sure >= ahead[s])
  :: else
  fi;
  if
  :: d_done > done[s] || d_end -> give_held(s)
  :: else
  fi;
  if
  :: d_sure > ahead[s] -> deliver(d_block, d_offset + ahead[s], d_sure - ahead[s])
  :: else
  fi;
  if
  :: d_done > done[s] || d_end -> advance(s, d_done, d_end)
  :: else
  fi;
  if
  :: d_length > d_sure ->
#if FAULT == 3
     deliver(d_block, d_offset + d_sure, d_length - d_sure)
#else
     held_block[s * 3 + helds[s]] = d_block;
     held_from[s * 3 + helds[s]] = d_offset + d_sure;
     held_length[s * 3 + helds[s]] = d_length - d_sure;
     helds[s] = helds[s] + 1;
#if FAULT != 5
     refs[d_block] = refs[d_block] + 1
#endif
#endif
  :: else
  fi;
  if
  :: d_ret -> release(open[s]); open[s] = NONE; published[s] = 0
  :: !d_ret && d_length > 0 -> published[s] = d_offset + d_length
  :: else
  fi;
  ahead[s] = 0;
  if
  :: d_need -> wants[s] = true
  :: else
  fi;
  d_block = 0; d_offset = 0; d_length = 0; d_sure = 0; d_done = 0; d_ret = 0; d_end = 0; d_need = 0; i = 0; j = 0
}

inline take_commit(s) {
  if
#if FAULT == 2
  :: chunks[s] > 0 && word_done[s] >= done[s] && word_done[s] <= count[s * CHUNKS] ->
#else
  :: gen[s] == received[s] && chunks[s] > 0 && word_done[s] >= done[s] && word_done[s] <= count[s * CHUNKS] ->
#endif
     done_now = word_done[s]; from = published[s] + ahead[s]; b = word_offset[s];
     if
     :: done_now > done[s] -> give_held(s)
     :: else
     fi;
     if
     :: open[s] != NONE && b > from ->
        deliver(open[s], from, b - from);
        ahead[s] = ahead[s] + b - from
     :: else
     fi;
     if
     :: done_now > done[s] -> advance(s, done_now, dead[s] && done_now == count[s * CHUNKS])
     :: else
     fi
  :: else
  fi;
  done_now = 0; from = 0; b = 0; i = 0; j = 0
}

/* What is left of chunk k of the ledger goes back to the queue. */
inline give_left(s, k) {
  for (i : 0 .. (count[s * CHUNKS + k] - 1)) {
#if FAULT == 4
    queued[first[s * CHUNKS + k] + i] = true
#else
    if
    :: k > 0 || i >= done[s] -> queued[first[s * CHUNKS + k] + i] = true
    :: else
    fi
#endif
  }
}

inline recover(s) {
  do
  :: nempty(out_ring[s]) -> take_one(s)
  :: empty(out_ring[s]) -> break
  od;
  take_commit(s);
  if
  :: chunks[s] > 0 && done[s] > 0 && done[s] == count[s * CHUNKS] -> pop_chunk(s)
  :: else
  fi;
  drop_held(s);
  for (n : 0 .. (chunks[s] - 1)) { give_left(s, n) }
  first[s * CHUNKS] = 0; count[s * CHUNKS] = 0; first[s * CHUNKS + 1] = 0; count[s * CHUNKS + 1] = 0;
  chunks[s] = 0; done[s] = 0; published[s] = 0; ahead[s] = 0; received[s] = 0; seq[s] = 0; wants[s] = false;
  gen[s] = 0; word_done[s] = 0; word_offset[s] = 0; claim[s * CHUNKS] = 0; claim[s * CHUNKS + 1] = 0;
  limit[s * CHUNKS] = NONE; limit[s * CHUNKS + 1] = NONE; seen[s] = 0; step[s] = 0;
  do
  :: nempty(in_ring[s]) -> in_ring[s] ? _, _, _, _
  :: empty(in_ring[s]) -> break
  od;
  if
  :: open[s] != NONE -> release(open[s]); open[s] = NONE
  :: else
  fi;
  if
  :: over == s -> over = NONE
  :: else
  fi;
  dead[s] = false; i = 0; j = 0; n = 0
}

/* `length` items that are queued, from the first one that is. */
inline offer(s, length) {
  i = 0;
  do
  :: i < ITEMS && !queued[i] -> i++
  :: else -> break
  od;
  n = 0;
  do
  :: n < length && i + n < ITEMS && queued[i + n] -> queued[i + n] = false; n++
  :: else -> break
  od;
  if
  :: n > 0 ->
     first[s * CHUNKS + chunks[s]] = i; count[s * CHUNKS + chunks[s]] = n;
     chunks[s] = chunks[s] + 1;
     claim[s * CHUNKS + seq[s]] = 0; limit[s * CHUNKS + seq[s]] = NONE;
     in_ring[s] ! CHUNK(i, n, seq[s]);
     seq[s] = (seq[s] + 1) % CHUNKS
  :: else
  fi;
  i = 0; n = 0
}

/* Takes back the newest chunk: it stays in the ledger with nothing in it until the worker has passed over it. */
inline revoke(s) {
  n = s * CHUNKS + (seq[s] + CHUNKS - 1) % CHUNKS;
  b = s * CHUNKS + chunks[s] - 1;
  claim[n] = 2;
  for (i : 0 .. (count[b] - 1)) { queued[first[b] + i] = true }
  count[b] = 0; first[b] = 0;
  i = 0; n = 0; b = 0
}

inline lend(s) {
  b = 0; n = 0;
  for (i : 0 .. (BLOCKS - 1)) {
    if
    :: refs[i] > 0 -> n++
    :: else -> b = i
    fi
  }
  if
  :: n < LIMIT -> refs[b] = 1; open[s] = b; wants[s] = false; in_ring[s] ! BLOCK(b, 0, 0)
  :: n >= LIMIT && n < BLOCKS && wants[s] && (over == NONE || over == s) ->
     over = s; refs[b] = 1; open[s] = b; wants[s] = false; in_ring[s] ! BLOCK(b, 0, 0)
  :: else
  fi;
  i = 0; n = 0; b = 0
}

#define free_or_over(s) \
  ((refs[0] > 0) + (refs[1] > 0) + (refs[2] > 0) < LIMIT \
   || (wants[s] && (over == NONE || over == s) && (refs[0] > 0) + (refs[1] > 0) + (refs[2] > 0) < BLOCKS))
#if FAULT == 6
#define may_revoke(s) true
#else
#define may_revoke(s) (claim[s * CHUNKS + (seq[s] + CHUNKS - 1) % CHUNKS] == 0)
#endif
#define newest_word(s) (len(out_ring[s]) == 0 && gen[s] == received[s])
#define may_shorten(s) (chunks[s] > 0 && newest_word(s) && claim[oldest(s)] == 1 && word_done[s] >= done[s] \
                        && word_done[s] + 1 < count[s * CHUNKS])
#if FAULT == 10
#define may_limit(s) true
#else
#define may_limit(s) (limit[oldest(s)] == NONE)
#endif
#if FAULT == 8
#define still(s) true
#else
#if FAULT == 11
#define begun_no_further(s) true
#else
#define begun_no_further(s) (step[s] <= seen[s] + 1)
#endif
#define still(s) (newest_word(s) && word_done[s] == seen[s] && begun_no_further(s))
#endif
#define any_queued (queued[0] || queued[1] || queued[ITEMS - 1])

#define all_delivered (delivered[0] && delivered[1] && delivered[2] && delivered[3] \
                       && delivered[ITEMS * PER - 2] && delivered[ITEMS * PER - 1])

#define SLOT(s) \
  :: d_step { !dead[s] && chunks[s] < CHUNKS && any_queued -> offer(s, 1) } \
  :: d_step { !dead[s] && chunks[s] < CHUNKS && any_queued -> offer(s, MOST) } \
  :: d_step { extras > 0 && !dead[s] && may_shorten(s) -> extras--; seen[s] = word_done[s] }; /* C1 */ \
     d_step { if :: may_limit(s) -> limit[oldest(s)] = seen[s] + 1 :: else fi }; /* C2 */ \
     d_step { if :: still(s) -> cut(s, seen[s] + 1) :: !still(s) fi; i = 0; seen[s] = 0 } /* C4 */ \
  :: d_step { extras > 0 && !dead[s] && chunks[s] > 0 && count[s * CHUNKS + chunks[s] - 1] > 0 \
              && may_revoke(s) -> extras--; revoke(s) } \
  :: d_step { !dead[s] && open[s] == NONE && wants[s] && free_or_over(s) -> lend(s) } \
  :: d_step { nempty(out_ring[s]) -> take_one(s) } \
  :: d_step { extras > 0 && !dead[s] && empty(out_ring[s]) && gen[s] == received[s] && chunks[s] > 0 \
              && word_done[s] > done[s] -> extras--; take_commit(s) } \
  :: atomic { dead[s] -> d_step { recover(s) }; run worker(s) }

active proctype coordinator() {
  d_step {
    for (i : 0 .. (ITEMS - 1)) { queued[i] = true }
    for (i : 0 .. (BLOCKS * CAP - 1)) { content[i] = NONE }
    for (i : 0 .. 3) { limit[i] = NONE }
    open[0] = NONE; open[1] = NONE; i = 0
  }
  atomic { run worker(0); run worker(1) }
  do
  SLOT(0)
  SLOT(1)
  :: all_delivered && chunks[0] == 0 && chunks[1] == 0 && !dead[0] && !dead[1] -> break
  od; /* stuck anywhere else is an invalid end state: something was lost */
  assert(finished == ITEMS && refs[0] + refs[1] + refs[2] == (open[0] != NONE) + (open[1] != NONE))
}

/* --- a worker ---------------------------------------------------------------------------------------------------- */

#define DIE if :: atomic { deaths < DEATHS -> deaths++; dead[s] = true; goto gone } :: true fi

/* The push of a descriptor, and after it the commit word. */
#define TELL(ret, ended, need) \
  DIE; \
  out_ring[s] ! block, told, end_ - told, mark - told, its_done, ret, ended, need; \
  d_step { \
    mine = (mine + 1) % 4; parted = parted || end_ > mark; \
    if :: ret -> block = NONE; told = 0; end_ = 0 :: else -> told = end_ fi; \
    mark = told; \
    if :: ended -> its_done = 0 :: else fi \
  } \
  DIE; \
  atomic { gen[s] = mine; word_done[s] = its_done; word_offset[s] = mark }

proctype worker(byte s) {
  byte item, items, at, k, most = NONE, block = NONE, told = 0, mark = 0, end_ = 0, its_done = 0, mine = 0;
  bool parted = false; /* what was not committed has been published in part: the end of the item is a commit */
next: DIE;
end_wait:
  if
  :: in_ring[s] ? CHUNK(item, items, at)
  fi;
  DIE;
#ifdef TOGETHER
  step[s] = 0;
#endif
  if
  :: atomic { claim[s * CHUNKS + at] == 0 -> claim[s * CHUNKS + at] = 1 }
  :: atomic { claim[s * CHUNKS + at] == 2 -> items = 0 }
  fi;
  k = 0;
  do
  :: k < items * PER ->
     /* emit: a block with room, then the record */
     if
     :: block != NONE && end_ == CAP -> TELL(true, false, false)
     :: else
     fi;
     if
     :: block == NONE ->
        TELL(false, false, true);
        in_ring[s] ?? BLOCK(block, _, _);

        d_step { told = 0; mark = 0; end_ = 0 }
        d_step { gen[s] = mine; word_done[s] = its_done; word_offset[s] = 0 }
     :: else
     fi;
     atomic { /* it is not read before it is committed */
       content[block * CAP + end_] = (item + k / PER) * PER + k % PER;
       end_++;
       k++
     }
     if
#ifdef TOGETHER
     :: k % PER == 0 && k < items * PER && !parted -> /* pass: the item is committed later */
        DIE;
#if FAULT != 12
        step[s] = k / PER + 1; /* the next item begins, unless there is a limit */
        DIE;
#endif
        most = limit[s * CHUNKS + at];
#if FAULT == 12
        DIE;
        step[s] = k / PER + 1;
#endif
        if
        :: most <= k / PER -> items = k / PER
        :: else
        fi;
        most = NONE
#endif
     :: k % PER == 0 -> /* finish: the commit */
        DIE;
#if FAULT == 7
        most = limit[s * CHUNKS + at];
        DIE;
#endif
        d_step { mark = end_; its_done = k / PER; parted = false }
#if FAULT == 1
        word_done[s] = its_done;
        DIE;
        word_offset[s] = mark;
#else
        d_step { gen[s] = mine; word_done[s] = its_done; word_offset[s] = mark }
#endif
        DIE;
        if
        :: true -> skip
        :: atomic { extras > 0 && its_done < items -> extras-- }
           TELL(false, false, false) /* the coordinator wants to know */
        fi;
#if defined(TOGETHER) && FAULT != 12
        step[s] = its_done + 1;
        DIE;
#endif
#if FAULT != 7
        most = limit[s * CHUNKS + at];
#endif
#if FAULT == 12
        DIE;
        step[s] = its_done + 1;
#endif
        if
        :: most <= its_done && its_done < items -> items = its_done /* limited: the chunk ends here */
        :: else
        fi;
        most = NONE
     :: else
     fi
  :: k == items * PER -> break
  od;
  atomic { its_done = items; mark = end_; k = 0; most = NONE; item = 0; at = 0 }
  TELL(false, true, false);
  parted = false;
  items = 0;
  goto next;
gone: skip
}
