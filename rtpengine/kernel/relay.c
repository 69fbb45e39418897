//go:build ignore

// The kernel's part of the relay: a packet of a latched RTP stream goes from
// the interface it came by straight to the other party. The way of a packet:
//
//  1. UDP without options, fragments or VLAN tag, to one of our addresses and ports
//  2. an entry of that port holds, and user space is alive: what a dead process has left drops nothing
//  3. exactly the source that is latched; others are for user space, a few a second
//  4. RTP of the stream's SSRC and payload type, nothing that user space would change (stream.go)
//  5. counted as count.go counts; addresses, ports, hops, class and checksums are ours
//  6. out by the route's interface to the next hop (route.go, neighbor.go)
//
// Whatever else comes is left to the sockets.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// An entry is one direction of a stream. entry.go has the same in Go.
struct entry {
	// What user space writes. gen is even while the entry holds.
	__u32 gen, oif, ssrc;
	__u16 flags;
	__u8 class, hops;
	__be16 rport, sport, dport; // of the party; ours and the other party's
	__u16 mtu;
	__u16 addrs, ports; // what the checksum changes by
	__u32 tick;  // a unit of the payload type's clock, in 1/4096 ns; 0: no jitter is counted
	__u64 clock; // wall clock minus monotonic clock, ns
	__u32 payload, pad1[2];
	__u8 frame[12]; // the next hop's address on the link, and ours
	__u32 raddr[4], saddr[4], daddr[4]; // IPv4 in the last word
	__u64 hop[2]; // the next hop: a gateway, or the party itself; IPv4 in its first four bytes
	// What the kernel counts.
	__u64 packets, bytes, last, jitter;
	__u32 max, stamp;
	__u64 wrong, filled;
	__u32 tokens, pad3;
};

enum { V6 = 1, LOCAL = 2, PLAIN = 4, HOP6 = 8, DIRECT = 16 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); // set when loaded
	__type(key, __u32);
	__type(value, struct entry);
} entries SEC(".maps");

// lease is until when user space is known to be alive (ns, monotonic).
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lease SEC(".maps");

#define LOCALS 8
struct addr {
	__u32 word[4];
};
volatile const struct addr locals[LOCALS]; // our addresses
volatile const __u32 nlocals, first, pairs;  // ports: the first even one, and how many pairs

#define AF_INET 2
#define AF_INET6 10
#define LOOPBACK 1	       // ifindex
#define TICK_BITS 12	       // and these, as count.go has them
#define DROPOUT 3000
#define MISORDER 100
#define SECOND 1000000000LL
#define PUNTS 50	       // foreign packets that user space sees, a second and at once
#define REFILL (1000000000ULL / PUNTS)
#define ASK 64		       // of so many packets one asks the system for the next hop's address

// local is which of our addresses that is, or -1.
static __always_inline int local(const __u32 *a)
{
#pragma unroll
	for (int i = 0; i < LOCALS; i++) {
		if (i < nlocals && a[0] == locals[i].word[0] && a[1] == locals[i].word[1] &&
		    a[2] == locals[i].word[2] && a[3] == locals[i].word[3])
			return i;
	}
	return -1;
}

// foreign is what becomes of a packet that is not the party's.
static __always_inline int foreign(struct entry *e, __u64 now)
{
	__u64 filled = *(volatile __u64 *)&e->filled; // another processor's may be later than now
	__u64 n = now > filled ? (now - filled) / REFILL : 0;
	if (n > 0) {
		n += e->tokens;
		e->tokens = n < PUNTS ? n : PUNTS;
		e->filled = now;
	}
	if (e->tokens > 0) {
		e->tokens--;
		return TC_ACT_UNSPEC;
	}
	e->wrong++;
	return TC_ACT_SHOT;
}

// count is RFC 3550 A.1, A.3 and A.8, as count.go has it. ahead is how far the
// sequence number is beyond the highest.
static __always_inline void count(struct entry *e, const struct entry *rule, const __u8 *rtp, __s16 ahead,
				  __u32 bytes, __u64 at)
{
	__u32 stamp = bpf_ntohl(*(__be32 *)(rtp + 4));
	if (ahead > 0)
		e->max += ahead;
	if (rule->tick && e->last) {
		__s64 d = (__s64)(at - e->last) - (((__s64)(__s32)(stamp - e->stamp) * rule->tick) >> TICK_BITS);
		if (d < 0)
			d = -d;
		if (d < SECOND)
			e->jitter += d - ((e->jitter + 8) >> 4);
	}
	e->stamp = stamp;
	e->last = at;
	e->packets++;
	e->bytes += bytes;
}

static __always_inline void rewrite4(struct iphdr *ip, const struct entry *e)
{
	__u16 *w = (void *)ip;
	__u32 sum = 0;
	ip->saddr = e->saddr[3];
	ip->daddr = e->daddr[3];
	ip->ttl = e->hops;
	ip->tos = e->class;
	ip->id = bpf_get_prandom_u32(); // the sender's would tell how much else it sends
	ip->frag_off = 0;		// as a socket with IP_PMTUDISC_OMIT has it
	ip->check = 0;
#pragma unroll
	for (int i = 0; i < 10; i++)
		sum += w[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
}

static __always_inline void rewrite6(struct ipv6hdr *ip, const struct entry *e)
{
	__builtin_memcpy(&ip->saddr, e->saddr, 16);
	__builtin_memcpy(&ip->daddr, e->daddr, 16);
	ip->hop_limit = e->hops;
	ip->priority = e->class >> 4;
	ip->flow_lbl[0] = e->class << 4; // the sender's flow label does not cross
	ip->flow_lbl[1] = ip->flow_lbl[2] = 0;
}

SEC("tc")
int relay(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct ipv6hdr *ip6 = data + sizeof(*eth);
	struct udphdr *udp;
	__u32 src[4] = {}, dst[4] = {}, payload;
	int v6 = 0;

	if ((void *)(ip + 1) > end || skb->gso_size || skb->vlan_present)
		return TC_ACT_UNSPEC;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if (ip->version != 4 || ip->ihl != 5 || ip->protocol != IPPROTO_UDP ||
		    (ip->frag_off & bpf_htons(0x3fff)))
			return TC_ACT_UNSPEC;
		udp = (void *)(ip + 1);
		src[3] = ip->saddr;
		dst[3] = ip->daddr;
		payload = bpf_ntohs(ip->tot_len) - sizeof(*ip);
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end || ip6->nexthdr != IPPROTO_UDP)
			return TC_ACT_UNSPEC;
		udp = (void *)(ip6 + 1);
		__builtin_memcpy(src, &ip6->saddr, 16);
		__builtin_memcpy(dst, &ip6->daddr, 16);
		payload = bpf_ntohs(ip6->payload_len);
		v6 = 1;
	} else {
		return TC_ACT_UNSPEC;
	}
	__u8 *rtp = (void *)(udp + 1);
	if ((void *)(rtp + 12) > end || bpf_ntohs(udp->len) != payload || (v6 && !udp->check))
		return TC_ACT_UNSPEC;

	__u32 port = bpf_ntohs(udp->dest) - first;
	if ((port & 1) || port >= 2 * pairs)
		return TC_ACT_UNSPEC;
	int at = local(dst);
	if (at < 0)
		return TC_ACT_UNSPEC;
	__u32 key = at * pairs + port / 2;
	struct entry *e = bpf_map_lookup_elem(&entries, &key);
	if (!e)
		return TC_ACT_UNSPEC;
	__u32 gen = *(volatile __u32 *)&e->gen;
	if (gen & 1 || !gen)
		return TC_ACT_UNSPEC;
	__u32 zero = 0;
	__u64 now = bpf_ktime_get_ns(), *until = bpf_map_lookup_elem(&lease, &zero);
	if (!until || now > *(volatile __u64 *)until)
		return TC_ACT_UNSPEC;

	// A copy of what is rewritten: user space may change the entry meanwhile,
	// and one party's address must never meet the other's port.
	struct entry to;
	__builtin_memcpy(&to, e, offsetof(struct entry, packets));
	asm volatile("" ::: "memory");
	if (*(volatile __u32 *)&e->gen != gen)
		return TC_ACT_UNSPEC;
	if (src[0] != to.raddr[0] || src[1] != to.raddr[1] || src[2] != to.raddr[2] || src[3] != to.raddr[3] ||
	    udp->source != to.rport)
		return foreign(e, now);

	if ((rtp[0] & 0xc0) != 0x80 || (rtp[1] >= 192 && rtp[1] <= 223) || *(__u32 *)(rtp + 8) != to.ssrc ||
	    (rtp[1] & 0x7f) != to.payload || ((to.flags & PLAIN) && (rtp[0] & 0x1f)))
		return TC_ACT_UNSPEC;
	__s16 ahead = (__s16)(bpf_ntohs(*(__be16 *)(rtp + 2)) - (__u16)e->max);
	if (ahead >= DROPOUT || ahead <= -MISORDER) // the sequence begins anew
		return TC_ACT_UNSPEC;
	if (skb->len - sizeof(*eth) > to.mtu || ((to.flags & LOCAL) && skb->ingress_ifindex != LOOPBACK))
		return TC_ACT_UNSPEC;

	count(e, &to, rtp, ahead, payload - sizeof(*udp), now + to.clock);
	// The frame's addresses are known, but now and then the system is to find
	// out that the next hop is still there: it looks only while it is used.
	int direct = (to.flags & DIRECT) && e->packets % ASK;
	if (direct)
		__builtin_memcpy(eth, to.frame, sizeof(to.frame));
	__u32 check = sizeof(*eth) + offsetof(struct udphdr, check);
	if (v6) {
		rewrite6(ip6, &to);
		check += sizeof(*ip6);
	} else {
		rewrite4(ip, &to);
		check += sizeof(*ip);
	}
	udp->source = to.sport;
	udp->dest = to.dport;
	if (udp->check) { // the helper knows of checksums that the hardware has yet to make
		bpf_l4_csum_replace(skb, check, 0, to.addrs, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
		bpf_l4_csum_replace(skb, check, 0, to.ports, BPF_F_MARK_MANGLED_0);
	}
	if (to.flags & LOCAL)
		return TC_ACT_UNSPEC; // up, to a socket of this host
	if (direct)
		return bpf_redirect(to.oif, 0);
	// Whole words: without CAP_PERFMON the verifier of 6.1 refuses to have the second
	// half of one written when it knows bounds of the first.
	union {
		struct bpf_redir_neigh neigh;
		__u64 word[3];
	} hop;
	__u64 low = to.hop[0], high = to.hop[1];
	hop.word[0] = low << 32 | ((to.flags & HOP6) ? AF_INET6 : AF_INET);
	hop.word[1] = high << 32 | low >> 32;
	hop.word[2] = high >> 32;
	return bpf_redirect_neigh(to.oif, &hop.neigh, sizeof(hop.neigh), 0); // with a next hop no route is looked up
}

char _license[] SEC("license") = "Dual BSD/GPL";
