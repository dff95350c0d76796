/* A member of structures in shared memory, as docs/shared.md says: a mutex, a channel, a struct. */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

enum { MAGIC, VERSION, KIND, SIZE, SEMAPHORES, PLACES, CAPACITY, LIMIT, FORMAT, STATE };
enum { LINE = 32, HEIR = 0, WAKE = 1 << 30, FLAGS = 3 << 29 };

#define LOAD(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define OR(p, v) __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST)
#define AND(p, v) __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST)

static uint32_t *word; /* the segment */
static int semaphores, places, words, place;
static int locks[2], lock_count, gates[4], gate_count;

static int swap(int w, uint32_t from, uint32_t to) {
    return __atomic_compare_exchange_n(&word[w], &from, to, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
static uint32_t owner(uint32_t w) { return w & 0xfff; }
static uint32_t deaths(uint32_t w) { return w >> 12 & 0xfff; }
static int alive(int p) { return 1 + p; }
static int bell(int p) { return 1 + places + p; }

static int step(struct sembuf *operations, int count, int wait) {
    for (int i = 0; i < count && !wait; i++) operations[i].sem_flg |= IPC_NOWAIT;
    while (semop(semaphores, operations, count) < 0) {
        if (errno == EAGAIN) return 0;
        if (errno != EINTR) err(1, "semop");
    }
    return 1;
}
static int is_dead(int p) { return p > places || semctl(semaphores, alive(p), GETVAL) == 0; }

static int index_of(int p) { return (p - 1) >> 5; }
static uint32_t bit_of(int p) { return 1u << ((p - 1) & 31); }
static void mark(int gate) { OR(&word[gate + index_of(place)], bit_of(place)); }
static void unmark(int gate) { AND(&word[gate + index_of(place)], ~bit_of(place)); }
static void sleep_here(void) { struct sembuf o = { bell(place), -1, 0 }; step(&o, 1, 1); }

static void wake_one(int gate) {
    for (int i = 0; i < words; i++) {
        uint32_t marks;
        while ((marks = LOAD(&word[gate + i])) != 0) {
            int p = 32 * i + 1 + __builtin_ctz(marks);
            if (!swap(gate + i, marks, marks & ~bit_of(p))) continue;
            struct sembuf o[] = { { alive(p), -1, 0 }, { alive(p), 1, 0 }, { bell(p), 1, 0 } };
            if (step(o, 3, 0)) return;
        }
    }
}
static int is_awaited(int gate) {
    for (int i = 0; i < words; i++) if (LOAD(&word[gate + i]) != 0) return 1;
    return 0;
}
static void wake_all(int gate) {
    while (is_awaited(gate)) wake_one(gate);
}

static void join(int id) {
    word = shmat(id, NULL, 0);
    if (word == (void *) -1) err(1, "shmat");
    if (LOAD(&word[MAGIC]) != 0x48535653 || word[VERSION] != 1) errx(1, "not a shared structure");
    semaphores = word[SEMAPHORES], places = word[PLACES], words = (places + 31) / 32;
    struct sembuf o[4 + 2 * 240];
    for (place = 0; place == 0;) {
        int n = 0, p = 1;
        while (p <= places && !is_dead(p)) p++;
        if (p > places) errx(1, "all places are taken");
        o[n++] = (struct sembuf) { HEIR, -1, 0 }, o[n++] = (struct sembuf) { HEIR, 1, 0 };
        o[n++] = (struct sembuf) { alive(p), 0, 0 }, o[n++] = (struct sembuf) { alive(p), 1, SEM_UNDO };
        for (int b = 1; b <= places; b++) {
            o[n++] = (struct sembuf) { bell(b), 1, 0 }, o[n++] = (struct sembuf) { bell(b), -1, SEM_UNDO };
        }
        if (step(o, n, 0)) place = p;
    }
    for (int i = 0; i < lock_count; i++) {
        uint32_t w;
        while (owner(w = LOAD(&word[locks[i]])) == (uint32_t) place) {
            swap(locks[i], w, (deaths(w) + 1) << 12 | (w & FLAGS));
        }
    }
    for (int i = 0; i < gate_count; i++) unmark(gates[i]);
    for (int i = 0; i < gate_count; i++) wake_one(gates[i]);
}

static int try_inherit(int lock) {
    struct sembuf heir = { HEIR, -1, SEM_UNDO }, back = { HEIR, 1, SEM_UNDO };
    step(&heir, 1, 1);
    uint32_t w = LOAD(&word[lock]);
    int done = owner(w) != 0 && is_dead(owner(w)) &&
        swap(lock, w, place | (deaths(w) + 1) << 12 | (w & FLAGS));
    step(&back, 1, 0);
    return done;
}
/* Returns how many holders have died. */
static int take(int lock) {
    if (swap(lock, 0, place)) return 0;
    for (;;) {
        mark(lock + 1);
        uint32_t w = LOAD(&word[lock]);
        if (owner(w) == 0) {
            if (w & 1 << 29) errx(1, "it is closed or removed");
            if (!swap(lock, w, w | place)) continue;
        } else if (is_dead(owner(w))) {
            if (!try_inherit(lock)) continue;
        } else {
            if ((w & WAKE) || swap(lock, w, w | WAKE)) sleep_here();
            continue;
        }
        unmark(lock + 1);
        return deaths(LOAD(&word[lock]));
    }
}
/* The gates: its own, and the one that its holders open; 0 for none. */
static void release(int lock, int gate) {
    uint32_t w;
    if (swap(lock, place, 0)) return;
    do w = LOAD(&word[lock]); while (!swap(lock, w, w & FLAGS));
    if (!(w & WAKE)) return;
    wake_one(lock + 1);
    if (gate) wake_one(gate);
    if (is_awaited(lock + 1) || (gate && is_awaited(gate))) return;
    AND(&word[lock], ~WAKE);
    if (!is_awaited(lock + 1) && !(gate && is_awaited(gate))) return;
    OR(&word[lock], WAKE);
    wake_all(lock + 1);
    if (gate) wake_all(gate);
}
static void know(int lock, int gate) {
    locks[lock_count++] = lock, gates[gate_count++] = lock + 1;
    if (gate) gates[gate_count++] = gate;
}

/* The channel. */
enum { PRODUCERS = LINE, CONSUMERS = 2 * LINE, TAIL = 3 * LINE, HEAD = 4 * LINE };
enum { FILLED = 5 * LINE, DRAINED = 6 * LINE, DEATHS = 7 * LINE, DATA = 8 * LINE };
static uint32_t room(uint32_t length) { return (length + 15) & ~7u; }
static uint32_t used(void) { return LOAD(&word[TAIL]) - LOAD(&word[HEAD]); }
static uint8_t *data(void) { return (uint8_t *) &word[DATA]; }

static void await_gate(int gate, int lock, int (*ready)(uint32_t), uint32_t length) {
    mark(gate);
    OR(&word[lock], WAKE);
    if (!ready(length)) sleep_here();
    unmark(gate);
}
static int has_room(uint32_t length) { return room(length) <= word[CAPACITY] - used(); }
static int has_message(uint32_t length) { return (void) length, used() != 0; }

static void send_message(const void *bytes, uint32_t length) {
    uint32_t mask = word[CAPACITY] - 1;
    for (;; await_gate(DRAINED, CONSUMERS, has_room, length)) {
        int dead = take(PRODUCERS);
        __atomic_fetch_add(&word[DEATHS], dead, __ATOMIC_SEQ_CST);
        int fits = has_room(length);
        if (fits) {
            uint32_t tail = LOAD(&word[TAIL]);
            STORE(&word[PRODUCERS + 15], place);
            word[DATA + ((tail & mask) >> 2)] = length;
            for (uint32_t i = 0; i < length; i++) data()[(tail + 8 + i) & mask] = ((const uint8_t *) bytes)[i];
            STORE(&word[TAIL], tail + room(length));
        }
        release(PRODUCERS, FILLED);
        if (fits) return;
    }
}
static uint32_t receive_message(void *bytes, uint32_t most) {
    uint32_t mask = word[CAPACITY] - 1;
    for (;; await_gate(FILLED, PRODUCERS, has_message, 0)) {
        int dead = take(CONSUMERS);
        __atomic_fetch_add(&word[DEATHS + 1], dead, __ATOMIC_SEQ_CST);
        int any = has_message(0);
        uint32_t length = 0;
        if (any) {
            uint32_t head = LOAD(&word[HEAD]);
            STORE(&word[CONSUMERS + 15], place);
            length = word[DATA + ((head & mask) >> 2)];
            if (length > most || length > word[LIMIT]) errx(1, "too long");
            for (uint32_t i = 0; i < length; i++) ((uint8_t *) bytes)[i] = data()[(head + 8 + i) & mask];
            STORE(&word[HEAD], head + room(length));
        }
        release(CONSUMERS, DRAINED);
        if (any) return length;
    }
}

struct stats { uint32_t hits; double mean; char name[32]; };

int main(int argc, char **argv) {
    if (argc < 3) errx(1, "what, and on what?");
    const char *what = argv[1];
    int id = atoi(argv[2]), count = argc > 3 ? atoi(argv[3]) : 0;
    if (strcmp(what, "struct") == 0) {
        struct stats *stats = shmat(id, NULL, 0);
        if (stats == (void *) -1) err(1, "shmat");
        printf("%u %g %s %zu\n", stats->hits, stats->mean, stats->name, sizeof *stats);
        STORE(&stats->hits, stats->hits + 1);
        stats->mean = 2.5;
        strcpy(stats->name, "from C");
        return 0;
    }
    if (strcmp(what, "mutex") == 0 || strcmp(what, "hold") == 0) {
        know(LINE, 0);
        join(id);
        if (strcmp(what, "hold") == 0) {
            printf("%d\n", take(LINE)), fflush(stdout);
            pause();
        }
        uint32_t *sum = shmat(atoi(argv[4]), NULL, 0);
        for (int i = 0; i < count; i++) {
            take(LINE);
            uint32_t before = *(volatile uint32_t *) sum;
            *(volatile uint32_t *) sum = before + 1;
            release(LINE, 0);
        }
        puts("done");
        return 0;
    }
    know(PRODUCERS, FILLED), know(CONSUMERS, DRAINED);
    join(id);
    char text[4096];
    for (int i = 0; i < count; i++) {
        if (strcmp(what, "send") == 0) send_message(text, sprintf(text, "%d from C", i));
        else {
            uint32_t length = receive_message(text, sizeof text);
            if ((int) length != sprintf(text + 2048, "%d to C", i) || memcmp(text, text + 2048, length)) {
                errx(1, "message %d is wrong: %.*s", i, (int) length, text);
            }
        }
    }
    puts("done");
    return 0;
}
