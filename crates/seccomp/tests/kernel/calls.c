/* What the kernel makes of a program, on x86_64. Standard input has a line for each thing said:
 *
 *   program N, and N lines CODE JT JF K     the program from here on
 *   call 64|32 NUMBER A0 A1 A2 A3 A4 A5     makes a call in a process that is filtered by it
 *
 * The answer to a call is "returned VALUE", "trapped", or "killed".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sock_filter instructions[4096];
static struct sock_fprog program = {0, instructions};

/* What the process says before it is filtered off: it may not be allowed to say it otherwise. */
static volatile struct {
    int is_filtered, has_returned, is_trapped;
    int64_t value;
} *seen;

/* After a call nothing may be allowed any more, not even to exit: then a forbidden instruction ends the process. */
static void leave(void) {
    long value;
    __asm__ volatile("syscall" : "=a"(value) : "a"(SYS_exit_group), "D"(0) : "rcx", "r11", "memory");
    __asm__ volatile("hlt");
}

static void trapped(int signal) {
    (void)signal;
    seen->is_trapped = 1;
    leave();
}

static int64_t call_64(uint32_t number, const uint64_t *a) {
    int64_t value;
    register uint64_t r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(value)
                     : "a"((uint64_t)number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return value;
}

static int64_t call_32(uint32_t number, const uint64_t *a) {
    int64_t value = number;
    /* rbx and rbp are the compiler's own. */
    __asm__ volatile("pushq %%rbx\n\tpushq %%rbp\n\t"
                     "movq 0(%[a]), %%rbx\n\tmovq 8(%[a]), %%rcx\n\tmovq 16(%[a]), %%rdx\n\t"
                     "movq 32(%[a]), %%rdi\n\tmovq 40(%[a]), %%rbp\n\tmovq 24(%[a]), %%rsi\n\t"
                     "int $0x80\n\t"
                     "popq %%rbp\n\tpopq %%rbx"
                     : "+a"(value)
                     : [a] "S"(a)
                     : "rcx", "rdx", "rdi", "r8", "r9", "r10", "r11", "memory");
    return (int32_t)value;
}

static void child(int bits, uint32_t number, const uint64_t *arguments) {
    struct sigaction action = {.sa_handler = trapped};
    sigaction(SIGSYS, &action, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program))
        _exit(1);
    seen->is_filtered = 1;
    seen->value = bits == 32 ? call_32(number, arguments) : call_64(number, arguments);
    seen->has_returned = 1;
    leave();
}

static void call(int bits, uint32_t number, const uint64_t *arguments) {
    memset((void *)seen, 0, sizeof(*seen));
    pid_t pid = fork();
    if (pid == 0)
        child(bits, number, arguments);
    int status;
    waitpid(pid, &status, 0);
    if (!seen->is_filtered)
        printf("refused\n");
    else if (seen->has_returned)
        printf("returned %lld\n", (long long)seen->value);
    else
        printf(seen->is_trapped ? "trapped\n" : "killed\n");
    fflush(stdout);
}

int main(void) {
    char word[16];
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    while (scanf("%15s", word) == 1) {
        if (!strcmp(word, "program")) {
            if (scanf("%hu", &program.len) != 1)
                return 1;
            for (int i = 0; i < program.len; i++) {
                struct sock_filter *it = &instructions[i];
                if (scanf("%hu %hhu %hhu %u", &it->code, &it->jt, &it->jf, &it->k) != 4)
                    return 1;
            }
        } else {
            int bits;
            uint32_t number;
            unsigned long long a[6];
            if (scanf("%d %u", &bits, &number) != 2)
                return 1;
            for (int i = 0; i < 6; i++)
                if (scanf("%llu", &a[i]) != 1)
                    return 1;
            uint64_t arguments[6] = {a[0], a[1], a[2], a[3], a[4], a[5]};
            call(bits, number, arguments);
        }
    }
    return 0;
}
