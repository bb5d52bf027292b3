// Kernel interfaces that Swift's Glibc module leaves out.
// Do not define _GNU_SOURCE here: Swift's own Glibc module is built without it, and the importer then rejects
// the diverging struct definitions. What needs it is declared by hand below.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern int pipe2(int[2], int);
extern int pthread_setname_np(pthread_t, const char *);
extern int setns(int, int);
// glibc 2.36: a process by descriptor, which never comes to mean another one.
extern int pidfd_open(pid_t, unsigned int);
extern int pidfd_send_signal(int, int, void *, unsigned int);
// glibc 2.34
extern int close_range(unsigned int, unsigned int, int);
extern int execvpe(const char *, char *const[], char *const[]);

enum { child_descriptor_limit = 8 };

// What a child program is started with.
struct child_program {
  const char *program;
  char *const *arguments;
  char *const *environment;
  // Where in the environment the program's own number is to be written, as ten digits; NULL: nowhere.
  char *own_number;
  // What becomes its descriptors from 0 on, at most child_descriptor_limit; -1: /dev/null.
  const int *descriptors;
  int descriptor_count;
};

// posix_spawn(3) with what that leaves out: the program is killed when the calling thread ends (PR_SET_PDEATHSIG, prctl(2)),
// and learns its own number. Returns the process, or a negative errno.
// Nothing of this process is copied: until the program runs, the child has its memory while the calling thread stands still, so
// it only calls what a signal handler might (vfork(2)).
static __attribute__((noinline, unused)) pid_t start_child_program(const struct child_program *child) {
  if (child->descriptor_count > child_descriptor_limit) return -EINVAL;
  const pid_t parent = getpid();
  volatile int failure = 0;
  sigset_t all, before;
  sigfillset(&all);
  // No handler of this process may run in the child.
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t process = vfork();
  if (process == 0) {
    struct sigaction plain = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++) sigaction(number, &plain, NULL);
    sigset_t none;
    sigemptyset(&none);
    // Who has lost its parent before that has another one now.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(127);
    // Above all numbers first: what is handed on may have one of those that are given out here.
    int kept[child_descriptor_limit];
    for (int number = 0; number < child->descriptor_count; number++) {
      const int given = child->descriptors[number];
      kept[number] = given >= 0 ? fcntl(given, F_DUPFD, child->descriptor_count)
                                : open("/dev/null", number == 0 ? O_RDONLY : O_WRONLY);
      if (given < 0 && kept[number] >= 0 && kept[number] < child->descriptor_count)
        kept[number] = fcntl(kept[number], F_DUPFD, child->descriptor_count);
      if (kept[number] < 0) goto failed;
    }
    for (int number = 0; number < child->descriptor_count; number++)
      if (dup2(kept[number], number) < 0) goto failed;
    if (close_range(child->descriptor_count, ~0U, 0) != 0) goto failed;
    if (child->own_number) {
      unsigned long rest = getpid();
      for (int digit = 9; digit >= 0; digit--, rest /= 10) child->own_number[digit] = '0' + rest % 10;
    }
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvpe(child->program, child->arguments, child->environment);
  failed:
    failure = errno;
    _exit(127);
  }
  const int refused = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (process < 0) return -refused;
  if (failure == 0) return process;
  int status;
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {}
  return -failure;
}
