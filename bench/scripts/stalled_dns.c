/* Makes lookups of `stalled.test` hang, as with a resolver that never answers.
 *
 *     cc -shared -fPIC -o stalled_dns.so stalled_dns.c
 *     LD_PRELOAD=./stalled_dns.so python ...
 *
 * Replaces the C library's getaddrinfo, which Python and Rust programs both call.
 * This needs no privilege to change the system's resolver. Each such
 * lookup first writes a byte to the descriptor in STALLED_DNS_FD, if that is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    if (node == NULL || strcmp(node, "stalled.test") != 0)
        return ((lookup *)dlsym(RTLD_NEXT, "getaddrinfo"))(node, service, hints, found);
    const char *descriptor = getenv("STALLED_DNS_FD");
    if (descriptor != NULL && write(atoi(descriptor), "?", 1) < 0)
        abort();
    for (;;)
        pause();
}
