/* Performs steps of semaphore sets, as it is told in lines: operate ID STEP, try ID STEP, values ID
   SIZE, where a step is index,delta[,undo] index,delta[,undo] and so on. */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>

static const char *outcome(int result) {
    return result == 0 ? "done" : strerrorname_np(errno);
}

static struct sembuf operation(const char *text, int flags) {
    int index, delta;
    if (sscanf(text, "%d,%d", &index, &delta) != 2) errx(1, "%s: no operation", text);
    if (strstr(text, ",undo")) flags |= SEM_UNDO;
    return (struct sembuf) { index, delta, flags };
}

int main(void) {
    static char line[4096];
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        const char *verb = strtok(line, " \n");
        int id = atoi(strtok(NULL, " \n"));
        if (strcmp(verb, "values") == 0) {
            unsigned short values[16];
            int size = atoi(strtok(NULL, " \n"));
            if (semctl(id, 0, GETALL, values) == -1) err(1, "semctl");
            for (int i = 0; i < size; i++) printf(i ? ",%d" : "%d", values[i]);
            puts("");
            continue;
        }
        struct sembuf operations[32];
        size_t count = 0;
        for (char *word; count < 32 && (word = strtok(NULL, " \n"));) {
            operations[count++] = operation(word, strcmp(verb, "try") == 0 ? IPC_NOWAIT : 0);
        }
        puts(outcome(semop(id, operations, count)));
    }
}
