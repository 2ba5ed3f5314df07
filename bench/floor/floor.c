/*
 * floor [--filter FILE] ROOTFS CGROUP PROGRAM [ARG...]
 * floor --exec PID CGROUP PROGRAM [ARG...]
 * floor --cgroup CGROUP ROUNDS
 *
 * The floor under any container runtime: the kernel's work for the bundle that `crun spec` writes, and nothing else.
 * No configuration is read, no state kept, nothing looked up, no error explained. What a runtime takes longer than
 * this, it takes for itself; what this takes, only a kernel can make faster.
 *
 * CGROUP is a directory below a cgroup2 mount; it is made and removed. The exit status is the program's, 128 + signal
 * if one killed it, 125 if a step failed (which one is said).
 *
 * FILE is a seccomp program, as the kernel takes it, which the process is filtered by.
 *
 * The second form runs a program beside PID, the first process of such a container, in its namespaces and its CGROUP. It
 * keeps the rights of the caller: there is less to it than any runtime may do.
 *
 * The third form does only what concerns the cgroup, from its creation to its removal, and prints for each round how
 * many nanoseconds that took.
 *
 * The steps are one after the other in one process at a time: a runtime that lets parent and child work side by side
 * may in parts be faster than this.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Every step is checked: a floor that skips work in silence would be no floor. */
#define MUST(step) ((step) < 0 ? fail(#step) : (void)0)
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void fail(const char *step)
{
	dprintf(2, "floor: %s: %s\n", step, strerror(errno));
	_exit(125);
}

/* --- the cgroup's device program ------------------------------------------------------------------------------- */

#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define LOAD(dst, offset)   INSN(BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_1, offset, 0)
#define MOVE(dst, value)    INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value)
#define JEQ(reg, value, to) INSN(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, to, value)
#define JNE(reg, value, to) INSN(BPF_JMP | BPF_JNE | BPF_K, reg, 0, to, value)
#define EXIT                INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* Deny, but for: making any node; null, zero, full, random, urandom; tty, console, ptmx; every pty.
 * The context is struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor. */
static const struct bpf_insn devices[] = {
	LOAD(BPF_REG_2, 0),
	LOAD(BPF_REG_4, 4),
	LOAD(BPF_REG_5, 8),
	INSN(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0),
	INSN(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16),
	INSN(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff),
	/*  6 */ JEQ(BPF_REG_3, BPF_DEVCG_ACC_MKNOD, 15), /* any node may be made: accept */
	/*  7 */ JNE(BPF_REG_2, BPF_DEVCG_DEV_CHAR, 12),  /* no other block device: deny */
	/*  8 */ JEQ(BPF_REG_4, 136, 13),                 /* ptys */
	/*  9 */ JEQ(BPF_REG_4, 5, 7),
	/* 10 */ JNE(BPF_REG_4, 1, 9),
	/* 11 */ JEQ(BPF_REG_5, 3, 10), /* null, zero, full, random, urandom */
	/* 12 */ JEQ(BPF_REG_5, 5, 9),
	/* 13 */ JEQ(BPF_REG_5, 7, 8),
	/* 14 */ JEQ(BPF_REG_5, 8, 7),
	/* 15 */ JEQ(BPF_REG_5, 9, 6),
	/* 16 */ JNE(BPF_REG_4, 5, 3),
	/* 17 */ JEQ(BPF_REG_5, 0, 4), /* tty, console, ptmx */
	/* 18 */ JEQ(BPF_REG_5, 1, 3),
	/* 19 */ JEQ(BPF_REG_5, 2, 2),
	/* 20 */ MOVE(BPF_REG_0, 0),
	/* 21 */ EXIT,
	/* 22 */ MOVE(BPF_REG_0, 1),
	/* 23 */ EXIT,
};

static void confine_devices(int cgroup)
{
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insn_cnt = LENGTH(devices),
		.insns = (uintptr_t)devices,
		.license = (uintptr_t) "Apache-2.0",
	};
	int program = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
	MUST(program);
	union bpf_attr attach = {
		.target_fd = cgroup,
		.attach_bpf_fd = program,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	MUST(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
	close(program);
}

/* --- the root filesystem --------------------------------------------------------------------------------------- */

#define STRICT (MS_NOSUID | MS_NOEXEC | MS_NODEV)

/* Destinations are relative to the new root, which is the working directory. */
static void make_mounts(void)
{
	MUST(mount("proc", "proc", "proc", 0, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	MUST(mkdir("dev/shm", 0755));
	MUST(mount("shm", "dev/shm", "tmpfs", STRICT, "mode=1777,size=65536k"));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", STRICT, NULL));
	MUST(mount("sysfs", "sys", "sysfs", STRICT | MS_RDONLY, NULL));
	MUST(mount("cgroup2", "sys/fs/cgroup", "cgroup2", STRICT | MS_RELATIME | MS_RDONLY, NULL));
}

static void make_devices(void)
{
	static const struct { const char *path; int major, minor; } nodes[] = {
		{ "dev/null", 1, 3 },   { "dev/zero", 1, 5 },    { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
	};
	static const struct { const char *path, *target; } links[] = {
		{ "dev/fd", "/proc/self/fd" },       { "dev/stdin", "/proc/self/fd/0" }, { "dev/stdout", "/proc/self/fd/1" },
		{ "dev/stderr", "/proc/self/fd/2" }, { "dev/core", "/proc/kcore" },      { "dev/ptmx", "pts/ptmx" },
	};
	for (size_t i = 0; i < LENGTH(nodes); i++)
		MUST(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	for (size_t i = 0; i < LENGTH(links); i++)
		MUST(symlink(links[i].target, links[i].path));
}

/* A masked file is hidden by /dev/null, a masked directory by an empty read-only file system; what is not there needs
 * no hiding. */
static void mask_paths(void)
{
	static const char *const paths[] = {
		"proc/acpi",          "proc/asound",     "proc/kcore",       "proc/keys",       "proc/latency_stats",
		"proc/timer_list",    "proc/timer_stats", "proc/sched_debug", "sys/firmware",    "proc/scsi",
	};
	for (size_t i = 0; i < LENGTH(paths); i++) {
		if (mount("/dev/null", paths[i], NULL, MS_BIND, NULL) == 0 || errno == ENOENT)
			continue;
		if (errno != ENOTDIR)
			fail(paths[i]);
		MUST(mount("tmpfs", paths[i], "tmpfs", MS_RDONLY, "size=4k,nr_inodes=1"));
	}
}

static void protect_paths(void)
{
	static const char *const paths[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
	for (size_t i = 0; i < LENGTH(paths); i++) {
		if (mount(paths[i], paths[i], NULL, MS_BIND | MS_REC, NULL) < 0) {
			if (errno == ENOENT)
				continue;
			fail(paths[i]);
		}
		MUST(mount(NULL, paths[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	}
}

static void make_root(const char *rootfs)
{
	/* Nothing that happens here may be seen in the host's namespace. */
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	MUST(chdir(rootfs));
	make_mounts();
	make_devices();
	mask_paths();
	protect_paths();
	MUST(mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
}

/* --- the process ----------------------------------------------------------------------------------------------- */

/* netdevice(7) */
static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	MUST(fd);
	MUST(ioctl(fd, SIOCSIFFLAGS, &request));
	close(fd);
}

static void drop_privileges(void)
{
	const uint64_t keep = 1ull << 29 /* audit_write */ | 1ull << 5 /* kill */ | 1ull << 10 /* net_bind_service */;
	/* The highest capability differs between kernels: the first that is unknown ends the loop. */
	for (int i = 0; i < 64; i++)
		if (!(keep >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
			if (errno == EINVAL)
				break;
			fail("PR_CAPBSET_DROP");
		}
	MUST(setgroups(0, NULL));
	MUST(syscall(SYS_setresgid, 0, 0, 0));
	MUST(syscall(SYS_setresuid, 0, 0, 0));
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { { .effective = keep, .permitted = keep } };
	MUST(syscall(SYS_capset, &header, sets));
	/* The ambient set stays empty, because the inheritable one is: capabilities(7). */
	MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/* seccomp(2): the program by which the process is filtered; none if it has no instruction. */
static struct sock_filter calls[BPF_MAXINSNS];
static struct sock_fprog filter = { .filter = calls };

static void read_filter(const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	MUST(file);
	ssize_t size = read(file, calls, sizeof calls);
	MUST(size);
	close(file);
	filter.len = size / sizeof calls[0];
}

static void filter_calls(void)
{
	if (filter.len > 0)
		MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter));
}

static __attribute__((noreturn)) void become_container(const char *rootfs, char **args)
{
	static char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm",
				       "HOME=/root", NULL };
	const struct rlimit files = { 1024, 1024 };

	/* After the move into the cgroup, which becomes the root of the namespace. */
	MUST(unshare(CLONE_NEWCGROUP));
	MUST(setsid());
	/* A session keyring of its own: keyctl(2). Kernels without keyrings have none to share. */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
		fail("KEYCTL_JOIN_SESSION_KEYRING");
	loopback_up();
	umask(0);
	make_root(rootfs);
	umask(0022);
	MUST(sethostname("crun", 4));
	MUST(setrlimit(RLIMIT_NOFILE, &files));
	drop_privileges();
	MUST(syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */));
	filter_calls();
	execve(args[0], args, environment);
	fail(args[0]);
	__builtin_unreachable();
}

static int wait_for(long pid)
{
	int status;
	MUST(waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* A pid namespace is entered by being born in it, the others all in one call. */
static int run_beside(pid_t first, const char *path, char **args)
{
	static char *environment[] = { NULL };
	int container = syscall(SYS_pidfd_open, first, 0);
	MUST(container);
	int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(cgroup);
	MUST(setns(container, CLONE_NEWPID));
	struct clone_args clone = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup };
	long pid = syscall(SYS_clone3, &clone, sizeof clone);
	MUST(pid);
	if (pid > 0)
		return wait_for(pid);
	MUST(setns(container, CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP));
	MUST(syscall(SYS_close_range, 3, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */));
	execve(args[0], args, environment);
	fail(args[0]);
	__builtin_unreachable();
}

static int make_cgroup(const char *path)
{
	MUST(mkdir(path, 0755));
	int cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(cgroup);
	confine_devices(cgroup);
	return cgroup;
}

static int time_cgroup(const char *path, int rounds)
{
	struct timespec before, after;
	for (int i = 0; i < rounds; i++) {
		clock_gettime(CLOCK_MONOTONIC, &before);
		close(make_cgroup(path));
		MUST(rmdir(path));
		clock_gettime(CLOCK_MONOTONIC, &after);
		printf("%lld\n", (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 5 && strcmp(argv[1], "--filter") == 0) {
		read_filter(argv[2]);
		argc -= 2;
		argv += 2;
	}
	if (argc < 4) {
		dprintf(2, "usage: floor [--filter FILE] ROOTFS CGROUP PROGRAM [ARG...]\n"
			   "       floor --exec PID CGROUP PROGRAM [ARG...]\n"
			   "       floor --cgroup CGROUP ROUNDS\n");
		return 125;
	}
	if (argc > 4 && strcmp(argv[1], "--exec") == 0)
		return run_beside(atoi(argv[2]), argv[3], argv + 4);
	if (strcmp(argv[1], "--cgroup") == 0)
		return time_cgroup(argv[2], atoi(argv[3]));
	int cgroup = make_cgroup(argv[2]);

	struct clone_args clone = {
		.flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup,
	};
	long pid = syscall(SYS_clone3, &clone, sizeof clone);
	MUST(pid);
	if (pid == 0)
		become_container(argv[1], argv + 3);

	int status = wait_for(pid);
	MUST(rmdir(argv[2]));
	return status;
}
