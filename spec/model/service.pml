/* service.pml - a client and a server of a service (src/core/attach.h, channel.h, lua/minigun/service/) as a model for
 * spin: attach, call, death of either side, re-attach.
 *
 * The server may die at any step; the next one takes the path over. A client makes CALLS calls, may die between two
 * steps, and attaches anew when the server has gone. Each connection is a memory of its own with two rings, two words
 * for sleeping and a socket: bytes on it (bells), and its end. Words are written through a store buffer of one entry
 * for each side, as in wake.pml.
 *
 * Checked: each call of a client that lives is settled exactly once, by its own reply or as lost; no reply is taken for
 * another call's; a server never answers a call that it has not been asked, nor twice; nobody sleeps for ever while
 * there is something for him. -DFAULT=n changes what must not be; the model must then find it.
 *
 *   here                    in the sources
 *   asked, answered         heads of the two rings: how many frames were published; taken: the tails
 *   ..._sleeps, bells_...   the words, the packets of one byte
 *   over                    the end of the socket, which either side sees
 */
#ifndef FAULT
#define FAULT 0  /* 1: a client that sees the end does not look at the ring once more  2: a new server goes on with
                    the memory of the one before  3: no fence before the server's last look  4: no fence before the
                    client's word is looked at  5: a call that is open when the connection ends stays open  6: the
                    client does not see the end while it sleeps  7: a call is answered before it is taken off, and
                    again after a bell */
#endif
#ifndef CALLS
#define CALLS 2
#endif
#ifndef DEATHS
#define DEATHS 1 /* of servers */
#endif
#define SERVERS (DEATHS + 1)

mtype = { NONE, OPEN, DONE, LOST };
mtype state[CALLS + 1] = NONE;   /* of each call, by its number */
byte settled[CALLS + 1] = 0;

/* The connection to server i is connection i: a client attaches to each server once. */
byte asked[SERVERS + 1] = 0, answered[SERVERS + 1] = 0;   /* published frames */
byte call_at[(SERVERS + 1) * (CALLS + 1)] = 0;            /* which call the n-th frame is */
byte reply_at[(SERVERS + 1) * (CALLS + 1)] = 0;
bool attached[SERVERS + 1] = false, over[SERVERS + 1] = false;
bool server_sleeps[SERVERS + 1] = false, client_sleeps[SERVERS + 1] = false;
byte bells_to_server[SERVERS + 1] = 0, bells_to_client[SERVERS + 1] = 0;

byte listens = 0;        /* which server does; 0: none */
byte deaths = 0;

/* The store buffers: a published frame, or a word, that the other side does not see yet. */
bool client_head = false, client_word = false, server_head = false, server_word = false;
byte client_at = 0, server_at = 0;

#define DRAIN_CLIENT d_step { \
    if :: client_head -> asked[client_at]++ :: else fi; \
    if :: client_word -> client_sleeps[client_at] = true :: else fi; \
    client_head = false; client_word = false }
#define DRAIN_SERVER d_step { \
    if :: server_head -> answered[server_at]++ :: else fi; \
    if :: server_word -> server_sleeps[server_at] = true :: else fi; \
    server_head = false; server_word = false }

active proctype memory() {
end: do
  :: atomic { client_head || client_word -> DRAIN_CLIENT }
  :: atomic { server_head || server_word -> DRAIN_SERVER }
  od
}

/* A death: what was stored reaches the memory, which outlives its process; the socket ends. */
#define SERVER_DIES(c) atomic { deaths < DEATHS -> deaths++; DRAIN_SERVER; over[c] = true; listens = 0; goto gone }
#define MAY_DIE(c) if :: SERVER_DIES(c) :: true fi

proctype server(byte me) {
  byte c = me, taken = 0, call;
#if FAULT == 2
  c = 1;
#endif
  listens = me;
again:
  do
  :: MAY_DIE(c);
     if
     :: attached[c] && taken < asked[c] ->                        /* mg_byte_next */
        call = call_at[c * (CALLS + 1) + taken];
        MAY_DIE(c);
#if FAULT != 7
        taken++;                                                  /* released: it is answered or lost with us */
#endif
        MAY_DIE(c);
        assert(answered[c] < asked[c]);
        atomic { !server_head && !server_word ->                  /* the reply is published */
          reply_at[c * (CALLS + 1) + answered[c]] = call;
          server_at = c; server_head = true }
        MAY_DIE(c);
#if FAULT != 4
        !server_head;                                             /* W2 */
#endif
        MAY_DIE(c);
        if
        :: client_sleeps[c] -> atomic { client_sleeps[c] = false; MAY_DIE(c) ; bells_to_client[c]++ }
        :: else
        fi
     :: attached[c] && taken == asked[c] ->
        atomic { !server_head && !server_word -> server_at = c; server_word = true }     /* S1 */
#if FAULT != 3
        !server_word;                                                                    /* S2 */
#endif
        if
        :: taken < asked[c] -> atomic { !server_word -> server_sleeps[c] = false }       /* S3, S4 */
        :: else ->
           MAY_DIE(c);
end_sleeps:
           if                                                                            /* S5 */
           :: bells_to_server[c] > 0 -> atomic { bells_to_server[c] = 0; !server_word -> server_sleeps[c] = false }
           :: over[c] -> goto left
           :: SERVER_DIES(c)
           fi
        fi
     :: !attached[c] ->
end_waits:
        if
        :: attached[c]
        :: SERVER_DIES(c)
        fi
     fi
  od;
gone:
  run server(me + 1);
left:
  skip
}

#define CLIENT_MAY_DIE if :: atomic { DRAIN_CLIENT; over[c] = true; goto killed } :: true fi
#define SETTLE(n, how) d_step { assert(state[n] == OPEN); state[n] = how; settled[n]++; assert(settled[n] == 1) }

proctype client() {
  byte c = 0, number = 0, taken = 0, reply;
  do
  :: number == CALLS -> break
  :: else ->
attach:
     atomic { listens > c -> c = listens; attached[c] = true }    /* connect, greeting, answer */
     taken = 0;
     CLIENT_MAY_DIE;
     do
     :: number == CALLS -> break
     :: number < CALLS ->
        number++;
        state[number] = OPEN;
        atomic { !client_head && !client_word ->
          call_at[c * (CALLS + 1) + asked[c]] = number;
          client_at = c; client_head = true }
        CLIENT_MAY_DIE;
        !client_head;                                             /* W2 */
        CLIENT_MAY_DIE;
        if
        :: server_sleeps[c] -> atomic { server_sleeps[c] = false; bells_to_server[c]++ }
        :: else
        fi;
        CLIENT_MAY_DIE;
wait:
        if
        :: taken < answered[c] ->
take:
           reply = reply_at[c * (CALLS + 1) + taken];
           taken++;
           assert(reply == number);                               /* not another call's */
           SETTLE(number, DONE)
        :: taken == answered[c] ->
           atomic { !client_head && !client_word -> client_at = c; client_word = true }
           !client_word;
           CLIENT_MAY_DIE;
           if
           :: taken < answered[c] -> client_sleeps[c] = false; goto take
           :: else ->
              if
              :: bells_to_client[c] > 0 -> atomic { bells_to_client[c] = 0; client_sleeps[c] = false }; goto wait
#if FAULT != 6
              :: over[c] ->
#if FAULT != 1
                 if :: taken < answered[c] -> goto take :: else fi;
#endif
#if FAULT != 5
                 assert(taken == answered[c]);                   /* no reply is thrown away */
                 SETTLE(number, LOST);
#endif
                 break
#endif
              fi
           fi
        fi
     od
  od;
  /* the client ends, or is killed: the server sees the same */
  byte i = 1;
  do
  :: i > CALLS -> break
  :: else -> assert(settled[i] == 1 && (state[i] == DONE || state[i] == LOST)); i++
  od;
  atomic { over[c] = true }
killed:
  skip
}

init {
  atomic { run server(1); run client() }
}
