/* As sitecustomize.py does for Python: compiled code that tries to reach another machine is written down and refused.
 * cc -shared -fPIC -o watch.so watch.c -ldl; then LD_PRELOAD=watch.so WATCH_LOG=file program */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void tell(const char *what, const char *whom) {
  const char *path = getenv("WATCH_LOG");
  int log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  if (log >= 0) {
    dprintf(log, "process %d %s %s\n", (int)getpid(), what, whom);
    close(log);
  }
}

/* Whether the address is another machine's; if so it is told. */
static int leaves(const char *what, const struct sockaddr *address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address == NULL) return 0;
  if (address->sa_family == AF_INET)
    inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, sizeof text);
  else if (address->sa_family == AF_INET6)
    inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
  else
    return 0;
  if (strncmp(text, "127.", 4) == 0 || strcmp(text, "::1") == 0) return 0;
  tell(what, text);
  errno = EACCES;
  return 1;
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  return leaves("connect", address) ? -1 : real(socket, address, length);
}

ssize_t sendto(int socket, const void *data, size_t size, int flags, const struct sockaddr *address, socklen_t length) {
  ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "sendto");
  return leaves("sendto", address) ? -1 : real(socket, data, size, flags, address, length);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
  ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
  return leaves("sendmsg", message->msg_name) ? -1 : real(socket, message, flags);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
  if (host == NULL || strcmp(host, "localhost") == 0 || strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0)
    return real(host, service, hints, found);
  tell("getaddrinfo", host);
  return EAI_FAIL;
}
