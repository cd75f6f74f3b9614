/* hostile_client.c - a client of a service that attaches, and then writes whatever it likes into what it shares with
 * the server: hostile_client PATH CONNECTIONS SEED.  Prints how many connections the server has ended. */
#define main service_client_main
#include "../../examples/service_client.c"
#undef main

static uint64_t state;

static uint64_t roll(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/* A frame that is nearly right. */
static void nearly(client *c) {
  frame head = {.length = (uint32_t)(roll() % 200), .kind = (uint8_t)(roll() % 4 ? 1 + roll() % 5 : roll()),
                .flags = (uint8_t)(roll() % 3 ? 0 : roll() % 8), .zero = roll() % 20 == 0, .number = roll() % 10};
  uint8_t bytes[256];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(roll() % 3 ? 0x93 + roll() % 4 : roll());
  copy_in(&c->out, c->out.mine + sizeof head, bytes, sizeof bytes);
  c->out.mine += space_of(head.length);
  if (roll() % 30 == 0) head.length = (uint32_t)roll();
  copy_in(&c->out, c->out.mine - space_of(head.length % 200), &head, sizeof head);
  if (roll() % 30 == 0) c->out.mine += roll() % 64;
  atomic_store(c->out.head, c->out.mine);
}

static void deed(client *c) {
  size_t size = c->out.size + c->in.size;
  switch (roll() % 16) {
  case 0: atomic_store(c->out.head, roll() % 2 ? roll() : c->out.mine + roll() % (2 * c->out.size)); break;
  case 1: atomic_store(c->in.tail, roll() % 2 ? roll() : roll() % c->in.size); break;
  case 2: atomic_store(roll() % 2 ? c->own_word : c->server_word, (uint32_t)roll()); break;
  case 3: atomic_store(roll() % 2 ? c->in.head : c->out.tail, roll()); break;
  case 4:
    for (int i = 0; i < 100; i++) c->memory[4096 + roll() % size] = (uint8_t)roll();
    break;
  case 5: fallocate(c->memory_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20); break;
  case 6: if (ftruncate(c->memory_file, 0) == 0) fail("the memory could be made smaller"); break;
  case 7: {
    char packet[300];
    for (size_t i = 0; i < sizeof packet; i++) packet[i] = (char)roll();
    send(c->socket, packet, roll() % sizeof packet, MSG_NOSIGNAL | MSG_DONTWAIT);
    break;
  }
  default: nearly(c);
  }
  if (roll() % 2) send(c->socket, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  long connections = atol(argv[2]), ended = 0;
  state = strtoull(argv[3], NULL, 10) | 1;
  for (long i = 0; i < connections; i++) {
    client c = {.socket = -1};
    int over = 0;
    attach(&c, argv[1]);
    for (int k = 0; k < 200 && !over; k++) {
      deed(&c);
      char packet[256];
      over = recv(c.socket, packet, sizeof packet, MSG_DONTWAIT) == 0;
    }
    ended += over;
    munmap(c.memory, (size_t)sysconf(_SC_PAGESIZE) + c.out.size + c.in.size);
    close(c.memory_file);
    close(c.socket);
  }
  printf("%ld\n", ended);
  return 0;
}
