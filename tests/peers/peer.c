/* Does with libc what it is told in lines, and answers each with a line. */

#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun { int val; };
struct message { long type; char text[8192]; };

static char *words[6];

static int is(const char *verb) { return strcmp(words[0], verb) == 0; }
static int number(int index) { return atoi(words[index]); }

static long must(const char *call, long result) {
    if (result == -1) err(1, "%s", call);
    return result;
}

static int semaphore(void) { return must("semget", semget(number(1), 0, 0)); }
static int queue(void) { return must("msgget", msgget(number(1), 0)); }

static char *memory(void) {
    void *address = shmat(must("shmget", shmget(number(1), 0, 0)), NULL, 0);
    must("shmat", (long) address);
    return address;
}

int main(void) {
    const int create = IPC_CREAT | IPC_EXCL | 0600;
    static char line[8192];
    static struct message message;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        memset(words, 0, sizeof words);
        char *word = strtok(line, " \n");
        for (int i = 0; word && i < 6; i++, word = strtok(NULL, " \n")) words[i] = word;
        if (!words[0]) continue;
        if (is("ftok")) {
            printf("%d\n", ftok(words[1], number(2)));
        } else if (is("create_semaphore")) {
            int id = must("semget", semget(number(1), 1, create));
            must("semctl", semctl(id, 0, SETVAL, (union semun) { .val = number(2) }));
            printf("%d\n", id);
        } else if (is("value")) {
            printf("%ld\n", must("semctl", semctl(semaphore(), 0, GETVAL)));
        } else if (is("operate")) {
            struct sembuf operation = { 0, number(2), words[3] ? SEM_UNDO : 0 };
            must("semop", semop(semaphore(), &operation, 1));
            puts("done");
        } else if (is("create_queue")) {
            printf("%ld\n", must("msgget", msgget(number(1), create)));
        } else if (is("send")) {
            message.type = number(2);
            size_t length = strlen(words[3]);
            memcpy(message.text, words[3], length);
            must("msgsnd", msgsnd(queue(), &message, length, 0));
            puts("done");
        } else if (is("receive")) {
            int length = must("msgrcv", msgrcv(queue(), &message, sizeof message.text, number(2), 0));
            printf("%ld %.*s\n", message.type, length, message.text);
        } else if (is("create_memory")) {
            printf("%ld\n", must("shmget", shmget(number(1), number(2), create)));
        } else if (is("write")) {
            char *address = memory();
            memcpy(address + number(2), words[3], strlen(words[3]));
            must("shmdt", shmdt(address));
            puts("done");
        } else if (is("read")) {
            char *address = memory();
            printf("%.*s\n", number(3), address + number(2));
            must("shmdt", shmdt(address));
        } else {
            errx(1, "%s: no such verb", words[0]);
        }
    }
}
