/*
 * What C does where scripts/bench_shared.ts measures shared structures; each prints one number:
 *
 *     free COUNT                        ns of locking and unlocking a robust mutex that nobody else wants
 *     turns SECONDS                     ns of a section that two processes on two CPUs take all the time
 *     stream SIZE SECONDS SENDERS RECEIVERS   messages a second through msgsnd and msgrcv
 */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct shared {
    pthread_mutex_t mutex;
    volatile double sum;
    volatile long counts[16][16];
};
static struct shared *shared;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void section(void) {
    if (pthread_mutex_lock(&shared->mutex) != 0) errx(1, "lock");
    shared->sum++;
    pthread_mutex_unlock(&shared->mutex);
}

/* The best of many short rounds, which nothing else has interrupted. */
static void free_lock(long count) {
    double best = 1e9;
    for (int round = 0; round < 100; round++) {
        double start = now();
        for (long i = 0; i < count / 100; i++) section();
        double time = (now() - start) / (count / 100) * 1e9;
        if (time < best) best = time;
    }
    printf("%.1f\n", best);
}

static long total(int count) {
    long sum = 0;
    for (int i = 0; i < count; i++) sum += shared->counts[i][0];
    return sum;
}

/* Lets children work for a while, and returns how often they counted in a second. */
static double measure(double seconds, int lanes, pid_t *children, int count) {
    usleep(200000);
    long before = total(lanes);
    double start = now();
    usleep(seconds * 1e6);
    double rate = (total(lanes) - before) / (now() - start);
    for (int i = 0; i < count; i++) kill(children[i], SIGKILL);
    for (int i = 0; i < count; i++) waitpid(children[i], NULL, 0);
    return rate;
}

static void turns(double seconds) {
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        if ((children[i] = fork()) != 0) continue;
        pin(i);
        for (;; shared->counts[i][0]++) section();
    }
    printf("%.1f\n", 1e9 / measure(seconds, 2, children, 2));
}

static void stream(size_t size, double seconds, int senders, int receivers) {
    int queue = msgget(IPC_PRIVATE, 0600);
    pid_t children[16];
    for (int i = 0; i < senders + receivers; i++) {
        if ((children[i] = fork()) != 0) continue;
        int lane = i - senders;
        struct { long type; char text[8192]; } message = { .type = 1 };
        pin((i < senders ? i : lane + 1) % 2);
        for (; i < senders;) if (msgsnd(queue, &message, size, 0) < 0) _exit(0);
        for (;; shared->counts[lane][0]++) if (msgrcv(queue, &message, 8192, 0, 0) < 0) _exit(0);
    }
    printf("%.0f\n", measure(seconds, receivers, children, senders + receivers));
    msgctl(queue, IPC_RMID, NULL);
}

int main(int argc, char **argv) {
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setpshared(&robust, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->mutex, &robust);
    if (argc == 3 && strcmp(argv[1], "free") == 0) free_lock(atol(argv[2]));
    else if (argc == 3 && strcmp(argv[1], "turns") == 0) turns(atof(argv[2]));
    else if (argc == 6 && strcmp(argv[1], "stream") == 0) stream(atoi(argv[2]), atof(argv[3]), atoi(argv[4]), atoi(argv[5]));
    else errx(1, "free COUNT, turns SECONDS or stream SIZE SECONDS SENDERS RECEIVERS");
    return 0;
}
