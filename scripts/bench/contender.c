/*
 * The System V calls as C makes them. Each line on stdin asks for a batch of so many rounds, whose
 * numbers go out as JSON.
 *
 *     contender ROW KEY KEY
 */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

static int first, second;
static const char *unit = "ns";
static struct { long type; char text[8192]; } outgoing = { 1, "" }, incoming;
static volatile int sink;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static int must(const char *call, int result) {
    if (result == -1) err(1, "%s", call);
    return result;
}

static void operate(int id, short delta, short flags) {
    struct sembuf operation = { 0, delta, flags };
    must("semop", semop(id, &operation, 1));
}

static double pairs(long count, short down, short up) {
    double start = now();
    for (long i = 0; i < count; i++) {
        operate(first, -1, down);
        operate(first, +1, up);
    }
    return (now() - start) / count;
}

static double acquire(long count) { return pairs(count, SEM_UNDO, SEM_UNDO); }
static double try_acquire(long count) { return pairs(count, SEM_UNDO | IPC_NOWAIT, SEM_UNDO); }
static double increment(long count) { return pairs(count, 0, 0); }

static double value(long count) {
    double start = now();
    for (long i = 0; i < count; i++) sink = must("semctl", semctl(first, 0, GETVAL));
    return (now() - start) / count;
}

/* The two steps of a mutex as @sysv/ipc/sync has it. */
static double mutex(long count) {
    struct sembuf lock[] = { { 1, 0, IPC_NOWAIT }, { 0, -1, SEM_UNDO | IPC_NOWAIT }, { 1, +1, IPC_NOWAIT } };
    struct sembuf unlock[] = { { 1, -1, IPC_NOWAIT }, { 0, +1, SEM_UNDO } };
    double start = now();
    for (long i = 0; i < count; i++) {
        must("semop", semop(first, lock, 3));
        must("semop", semop(first, unlock, 2));
    }
    return (now() - start) / count;
}

static double robust(long count) {
    static pthread_mutex_t *mutex;
    if (mutex == NULL) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        mutex = mmap(NULL, sizeof *mutex, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (mutex == MAP_FAILED) err(1, "mmap");
        pthread_mutex_init(mutex, &attributes);
    }
    double start = now();
    for (long i = 0; i < count; i++) {
        if (pthread_mutex_lock(mutex) || pthread_mutex_unlock(mutex)) errx(1, "not locked");
    }
    return (now() - start) / count;
}

static double messages(long count, size_t room) {
    double start = now();
    for (long i = 0; i < count; i++) {
        must("msgsnd", msgsnd(first, &outgoing, 64, IPC_NOWAIT));
        must("msgrcv", msgrcv(first, &incoming, room, 0, IPC_NOWAIT));
    }
    return (now() - start) / count;
}

static double message(long count) { return messages(count, sizeof incoming.text); }
static double message_into(long count) { return messages(count, 64); }

/* The same with calls that may block, though they need not. */
static double message_sync(long count) {
    double start = now();
    for (long i = 0; i < count; i++) {
        must("msgsnd", msgsnd(first, &outgoing, 64, 0));
        must("msgrcv", msgrcv(first, &incoming, 64, 0, 0));
    }
    return (now() - start) / count;
}

static double stat_set(long count) {
    struct semid_ds description;
    double start = now();
    for (long i = 0; i < count; i++) must("semctl", semctl(first, 0, IPC_STAT, &description));
    return (now() - start) / count;
}

static double stat_queue(long count) {
    struct msqid_ds description;
    double start = now();
    for (long i = 0; i < count; i++) must("msgctl", msgctl(first, IPC_STAT, &description));
    return (now() - start) / count;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

/* The median, in microseconds. */
static double median(double *times, long count) {
    qsort(times, count, sizeof *times, ascending);
    unit = "us";
    double middle = times[count / 2] / 1000;
    free(times);
    return middle;
}

static double hand_over(long count) {
    double *times = malloc(count * sizeof *times);
    for (long i = 0; i < count; i++) {
        double start = now();
        operate(second, +1, 0);
        operate(first, -1, 0);
        times[i] = now() - start;
    }
    return median(times, count);
}

static double answer(long count) {
    (void) count;
    for (;;) {
        operate(second, -1, 0);
        operate(first, +1, 0);
    }
}

static double drain(long count) {
    operate(first, count, 0);
    double start = now();
    for (long i = 0; i < count; i++) operate(first, -1, IPC_NOWAIT);
    unit = "ms";
    return (now() - start) / 1e6;
}

static void ignore(int signal) { (void) signal; }

static void *block(void *unused) {
    (void) unused;
    struct sembuf operation = { 0, -1, 0 };
    if (semop(first, &operation, 1) != -1 || errno != EINTR) errx(1, "not interrupted");
    return NULL;
}

static double interrupted(long count) {
    double *times = malloc(count * sizeof *times);
    signal(SIGURG, ignore);
    for (long i = 0; i < count; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, block, NULL);
        while (must("semctl", semctl(first, 0, GETNCNT)) == 0) usleep(100);
        double start = now();
        pthread_kill(thread, SIGURG);
        pthread_join(thread, NULL);
        times[i] = now() - start;
    }
    return median(times, count);
}

static const struct { const char *name; double (*run)(long); } rows[] = {
    { "acquire", acquire },
    { "try-acquire", try_acquire },
    { "increment", increment },
    { "increment-undo", acquire },
    { "value", value },
    { "mutex", mutex },
    { "robust", robust },
    { "message", message },
    { "message-into", message_into },
    { "message-sync", message_sync },
    { "stat-set", stat_set },
    { "stat-queue", stat_queue },
    { "sync", hand_over },
    { "promise", hand_over },
    { "answer-sync", answer },
    { "answer-promise", answer },
    { "drain", drain },
    { "abort", interrupted },
};

int main(int count, char **words) {
    static char line[64];
    if (count != 4) errx(1, "expected a row and two keys");
    int queue = strncmp(words[1], "message", 7) == 0 || strcmp(words[1], "stat-queue") == 0;
    key_t key = atoi(words[2]);
    first = queue ? must("msgget", msgget(key, 0)) : must("semget", semget(key, 0, 0));
    second = must("semget", semget(atoi(words[3]), 0, 0));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, words[1]) != 0) continue;
        while (fgets(line, sizeof line, stdin)) {
            double result = rows[i].run(atol(line));
            printf("{ \"%s\": %f }\n", unit, result);
            fflush(stdout);
        }
        return 0;
    }
    errx(1, "%s: no such row", words[1]);
}
