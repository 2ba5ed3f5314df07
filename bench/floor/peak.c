/*
 * peak PROGRAM [ARG...]
 *
 * Runs PROGRAM and writes its peak resident memory in KiB, as wait4(2) reports it, to standard output; PROGRAM's
 * own goes to /dev/null. The kernel counts the memory a process had before execve(2) into its peak, and with vfork(2) that is its parent's: so the parent has
 * to be smaller than whatever it measures, which this is and the benchmark itself is not.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rusage usage;
	int status, null;
	pid_t pid;

	if (argc < 2)
		return 125;
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0)
		return 125;
	pid = vfork();
	if (pid < 0)
		return 125;
	if (pid == 0) {
		dup2(null, 1);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &usage) < 0)
		return 125;
	if (dprintf(1, "%ld\n", usage.ru_maxrss) < 0)
		return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
