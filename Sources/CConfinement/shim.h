// prctl, unshare and seccomp filters for Swift, which cannot call variadic functions.
// Do not define _GNU_SOURCE here; see CLinux.
#include <errno.h>
#include <stddef.h>
#include <spawn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
extern int unshare(int);
// glibc 2.34: closes every descriptor from here on.
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);

// 0, or errno.
static inline int aloft_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno; }
static inline int aloft_not_dumpable(void) { return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : errno; }
static inline int aloft_die_with_parent(void) { return prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0) == 0 ? 0 : errno; }

// A user and a network namespace of its own: without any interface that is up.
static inline int aloft_leave_network(void) { return unshare(0x10000000 | 0x40000000) == 0 ? 0 : errno; }

#if defined(__x86_64__)
#define ALOFT_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ALOFT_AUDIT_ARCH AUDIT_ARCH_AARCH64
#endif

// From here on the process may read what is open, write what is open, get and give back memory, and end. Everything else
// kills it. 0, or errno.
static inline int aloft_only_read_and_write(void) {
#ifdef ALOFT_AUDIT_ARCH
  static const int allowed[] = {
      __NR_read, __NR_pread64, __NR_lseek, __NR_fstat, __NR_write, __NR_close,
      __NR_brk, __NR_mmap, __NR_munmap, __NR_mremap, __NR_mprotect, __NR_madvise,
      __NR_futex, __NR_sched_yield, __NR_getpid, __NR_gettid, __NR_tgkill, __NR_getrandom,
      __NR_clock_gettime, __NR_gettimeofday, __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn,
      __NR_sigaltstack, __NR_restart_syscall, __NR_exit, __NR_exit_group,
  };
  enum { count = sizeof(allowed) / sizeof(allowed[0]) };
  struct sock_filter code[count + 6];
  unsigned int n = 0;
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ALOFT_AUDIT_ARCH, 1, 0);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (unsigned int i = 0; i < count; i++) {
    // To the last statement, over those that are left and the refusal.
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)allowed[i], (unsigned char)(count - i), 0);
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 ? 0 : errno;
#else
  return ENOSYS;
#endif
}
