/* The baseline of bench-media: what a relay of media costs when it is nothing
 * but that. A socket for each port, epoll, recvfrom, sendto. It checks the
 * source and counts what RFC 3550 counts, as every relay must, and packets leave
 * as Sotto sends them; it knows no signalling, no RTCP, no second loop.
 *
 * forward THREADS PAUSE_US SESSIONS LOCAL PORT CALLER PORT CALLEE PORT
 *
 * Of two threads the second does nothing. It stands for the one that every relay
 * has that is told which calls there are: as soon as threads share open files,
 * the system counts references to a file in each call that uses it.
 *
 * Session i has the ports PORT+4i toward the caller and PORT+4i+2 toward the
 * callee; the parties are at their PORT+i. With a pause it lets packets gather.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { batch = 128, largest = 9000, minimum = 12 };

struct stream { /* what one party sends */
	int in, out;
	struct sockaddr_in from, to;
	uint64_t packets, bytes, received;
	int64_t heard, transit, jitter;
	uint32_t ssrc;
	uint16_t max;
};

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in at(const char *ip, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	if (inet_pton(AF_INET, ip, &a.sin_addr) != 1)
		fail(ip);
	return a;
}

static int open_at(struct sockaddr_in a)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), buffer = 64 << 10;
	int ttl = 64, tos = 0xb8, mtu = IP_PMTUDISC_OMIT; /* rtpengine/loop_linux.go */
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
		fail("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &mtu, sizeof mtu) < 0)
		fail("socket option");
	return fd;
}

static void watch(int ep, int fd, struct stream *s)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		fail("epoll");
}

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void count(struct stream *s, const uint8_t *b, ssize_t n)
{
	uint16_t seq = b[2] << 8 | b[3];
	uint32_t stamp, ssrc;
	memcpy(&stamp, b + 4, 4);
	memcpy(&ssrc, b + 8, 4);
	int64_t t = now(), transit = t - (int64_t)ntohl(stamp) * 125000; /* 8 kHz */
	if (s->packets && s->ssrc == ssrc) {
		int64_t d = llabs(transit - s->transit);
		s->jitter += (d - s->jitter) / 16;
		if ((int16_t)(seq - s->max) > 0)
			s->max = seq;
	} else {
		s->max = seq;
	}
	s->ssrc = ssrc, s->transit = transit, s->heard = t;
	s->packets++, s->received++, s->bytes += n;
}

static void relay(struct stream *s)
{
	static uint8_t b[largest];
	struct sockaddr_in from;
	socklen_t size = sizeof from;
	ssize_t n = recvfrom(s->in, b, sizeof b, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
	if (n < minimum || b[0] >> 6 != 2 || (b[1] >= 192 && b[1] <= 223) ||
	    from.sin_port != s->from.sin_port || from.sin_addr.s_addr != s->from.sin_addr.s_addr)
		return;
	count(s, b, n);
	sendto(s->out, b, n, MSG_DONTWAIT, (struct sockaddr *)&s->to, sizeof s->to);
}

static void *nothing(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t second;
	if (argc != 10)
		return 2;
	if (atoi(*++argv) > 1 && pthread_create(&second, NULL, nothing, NULL) != 0)
		fail("thread");
	int pause_us = atoi(argv[1]), n = atoi(argv[2]), ep = epoll_create1(0);
	struct stream *all = calloc(2 * n, sizeof *all);
	for (int i = 0; i < n; i++) {
		int toward_caller = open_at(at(argv[3], atoi(argv[4]) + 4 * i));
		int toward_callee = open_at(at(argv[3], atoi(argv[4]) + 4 * i + 2));
		struct sockaddr_in caller = at(argv[5], atoi(argv[6]) + i), callee = at(argv[7], atoi(argv[8]) + i);
		all[2 * i] = (struct stream){.in = toward_caller, .out = toward_callee, .from = caller, .to = callee};
		all[2 * i + 1] = (struct stream){.in = toward_callee, .out = toward_caller, .from = callee, .to = caller};
		watch(ep, toward_caller, &all[2 * i]);
		watch(ep, toward_callee, &all[2 * i + 1]);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct epoll_event ready[batch];
		int k = epoll_wait(ep, ready, batch, -1);
		for (int i = 0; i < k; i++)
			relay(ready[i].data.ptr);
		if (pause_us && k < batch)
			usleep(pause_us);
	}
}
