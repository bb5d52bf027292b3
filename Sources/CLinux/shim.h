// Kernel interfaces that Swift's Glibc module leaves out.
// Do not define _GNU_SOURCE here: Swift's own Glibc module is built without it, and the importer then rejects
// the diverging struct definitions. What needs it is declared by hand below.
#include <pthread.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern int pipe2(int[2], int);
extern int pthread_setname_np(pthread_t, const char *);
extern int setns(int, int);
// glibc 2.36: a process by descriptor, which never comes to mean another one.
extern int pidfd_open(pid_t, unsigned int);
extern int pidfd_send_signal(int, int, void *, unsigned int);
// glibc 2.34: closes every descriptor from here on.
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
