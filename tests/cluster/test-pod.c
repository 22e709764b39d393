/* A pod that does as it is told: prints words on lines of their own, then ends with
 * a code (test-pod exit CODE WORD…) or stays until it is asked to stop
 * (test-pod stay WORD…). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void leave(int number) {
    _exit(128 + number);
}

int main(int count, char **words) {
    int ends = count > 2 && strcmp(words[1], "exit") == 0;
    signal(SIGTERM, leave);
    for (int word = ends ? 3 : 2; word < count; word++)
        puts(words[word]);
    fflush(stdout);
    if (ends)
        return atoi(words[2]);
    for (;;)
        pause();
}
