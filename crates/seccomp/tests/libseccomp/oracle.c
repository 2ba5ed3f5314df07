/* What libseccomp makes of a profile. Standard input has a line for each thing said:
 *
 *   profile DEFAULT-ACTION          begins one
 *   arch TOKEN                      an architecture; the native one is there only if it is named
 *   rule ACTION NAME [INDEX OPERATOR VALUE VALUE-TWO]...
 *   end                             answers
 *
 * The answer is "program N" and N lines "CODE JT JF K", or "refused LINE ERRNO" with the line's number, counted from the
 * one that began the profile, as 0. Other questions are "version" and "resolve TOKEN NAME": the number of a call, negative
 * if the architecture has none, -1 if nobody knows the call or the architecture.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static scmp_filter_ctx filter;
static int line_number, failed_line, failure; /* the first failure */
static int first_arch;

static void fail(int code) {
    if (failure == 0 && code < 0) {
        failure = -code;
        failed_line = line_number;
    }
}

static void begin(char *rest) {
    if (filter)
        seccomp_release(filter);
    line_number = 0, failed_line = 0, failure = 0, first_arch = 1;
    filter = seccomp_init((uint32_t)strtoul(rest, NULL, 0));
    if (!filter)
        fail(-EINVAL);
}

static void arch(char *rest) {
    uint32_t token = (uint32_t)strtoul(rest, NULL, 0);
    if (first_arch) {
        first_arch = 0;
        if (token == seccomp_arch_native())
            return;
        fail(seccomp_arch_remove(filter, SCMP_ARCH_NATIVE));
    }
    int code = seccomp_arch_add(filter, token);
    if (code != -EEXIST)
        fail(code);
}

static void rule(char *rest) {
    char *save = NULL;
    uint32_t action = (uint32_t)strtoul(strtok_r(rest, " ", &save), NULL, 0);
    int call = seccomp_syscall_resolve_name(strtok_r(NULL, " ", &save));
    struct scmp_arg_cmp arguments[64];
    unsigned int count = 0;
    char *word;
    while (count < 64 && (word = strtok_r(NULL, " ", &save)) != NULL) {
        arguments[count].arg = (unsigned int)strtoul(word, NULL, 0);
        arguments[count].op = (enum scmp_compare)strtoul(strtok_r(NULL, " ", &save), NULL, 0);
        arguments[count].datum_a = strtoull(strtok_r(NULL, " ", &save), NULL, 0);
        arguments[count].datum_b = strtoull(strtok_r(NULL, " ", &save), NULL, 0);
        count++;
    }
    fail(call == __NR_SCMP_ERROR ? -ENOSYS : seccomp_rule_add_array(filter, action, call, count, arguments));
}

static void answer(void) {
    struct { uint16_t code; uint8_t jt, jf; uint32_t k; } instruction;
    int file = memfd_create("program", 0);
    if (failure == 0)
        fail(seccomp_export_bpf(filter, file));
    if (failure != 0) {
        printf("refused %d %d\n", failed_line, failure);
    } else {
        printf("program %ld\n", (long)(lseek(file, 0, SEEK_CUR) / (off_t)sizeof(instruction)));
        lseek(file, 0, SEEK_SET);
        while (read(file, &instruction, sizeof(instruction)) == sizeof(instruction))
            printf("%u %u %u %u\n", instruction.code, instruction.jt, instruction.jf, instruction.k);
    }
    close(file);
}

int main(void) {
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        char *rest = strchr(line, ' ');
        line[strcspn(line, "\n")] = 0;
        line_number++;
        if (rest)
            *rest++ = 0;
        if (!strcmp(line, "profile"))
            begin(rest);
        else if (!strcmp(line, "arch"))
            arch(rest);
        else if (!strcmp(line, "rule"))
            rule(rest);
        else if (!strcmp(line, "end"))
            answer();
        else if (!strcmp(line, "version")) {
            const struct scmp_version *version = seccomp_version();
            printf("%u.%u.%u\n", version->major, version->minor, version->micro);
        } else if (!strcmp(line, "resolve")) {
            char *name = strchr(rest, ' ');
            *name++ = 0;
            printf("%d\n", seccomp_syscall_resolve_name_arch((uint32_t)strtoul(rest, NULL, 0), name));
        }
        fflush(stdout);
    }
    return 0;
}
