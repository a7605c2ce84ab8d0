/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every mistake there is, each in a file of its own that is right otherwise, and the lines that are
 * to be reported for it.
 */

#include <string.h>

#include <glib/gstdio.h>

#include "daemon/settings-file.h"

/* What makes a file whole, where that is not what is tested. */
#define LISTENER "[Listener in]\nListen=127.0.0.1:4573\n"
#define ROUTE    "[Route rest]\nPath=*\nAnswer=a\n[Answer a]\n"
#define REST     LISTENER ROUTE

#define PIN "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define ESCAPE "A backslash that escapes nothing: write \\\\ for one, or \\s, \\t, \\n, \\r\n"

typedef struct Case {
        const char *name;
        const char *text;
        const char *expected; /* as printed, without the file's name */
} Case;

static const Case cases[] = {
        /* The file as lines. */
        { "nothing-wrong", REST, "" },
        { "line-ends-with-cr", "[Proxy]\r\nThreads=2\r\n\r\n# x\r\n" REST, "" },
        { "blanks-around", "  [Proxy]  \n\tThreads =  2 \n  # comment\n \n" REST, "" },
        { "last-line-without-lf", REST "[Proxy]\nThreads=2", "" },
        { "no-key-file-line", "[Proxy]\nThreads 2\n" REST,
          "2: [Proxy]: 'Threads 2' is neither KEY=VALUE nor [GROUP] nor a comment\n" },
        { "semicolon-comment", "; hello\n" REST, "1: A comment begins with '#', not with ';'\n" },
        { "key-before-group", "# x\n\nThreads=2\n" REST,
          "3: Threads=: A key before any group: [Proxy] or another has to come first\n" },
        { "key-without-name", "[Proxy]\n=2\n" REST,
          "2: [Proxy]: '' before the '=' is not the name of a key\n" },
        { "key-with-odd-name", "[Proxy]\nMax Sessions=2\nThreads[de]=2\n" REST,
          "2: [Proxy]: 'Max Sessions' before the '=' is not the name of a key\n"
          "3: [Proxy]: 'Threads[de]' before the '=' is not the name of a key\n" },
        { "header-not-closed", REST "[Proxy\nThreads=nothing said about what follows\n",
          "7: The group's name '[Proxy' does not end with ']'\n" },
        { "header-bracket", "[Pro]xy]\n" REST,
          "1: A bracket or control byte in the name 'Pro]xy'\n" },
        { "header-empty", "[]\n" REST, "1: A group without a name\n" },
        { "header-comment", "[Proxy] # x\n" REST,
          "1: The group's name '[Proxy] # x' does not end with ']'\n" },
        { "group-twice", "[Proxy]\nThreads=2\n[Log]\n[Proxy]\nMaxSessions=3\n" REST,
          "4: [Proxy]: The group stands twice in this file: it begins in line 1\n" },
        { "key-twice", "[Proxy]\nThreads=2\nThreads=2\n" REST,
          "3: [Proxy] Threads=: The key stands twice in this group: line 2 has it too\n" },
        { "invalid-utf8", "[Proxy]\n# \xff\nThreads=\xc3\n" REST,
          "2: [Proxy]: The line is not valid UTF-8\n3: [Proxy]: The line is not valid UTF-8\n" },
        { "byte-order-mark", "\xef\xbb\xbf# x\n" REST,
          "1: The file begins with a byte order mark: save it without\n" },
        { "control-bytes-are-escaped", "[Proxy]\n\033[2Jx\n" REST,
          "2: [Proxy]: '\\x1b[2Jx' is neither KEY=VALUE nor [GROUP] nor a comment\n" },
        { "all-at-once",
          "x\n[Proxy]\nThread=2\nThreads=none\n[Sever x]\nAddress=x\n" REST "[Server s]\n",
          "1: 'x' is neither KEY=VALUE nor [GROUP] nor a comment\n"
          "3: [Proxy] Thread=: Unknown key; did you mean Threads=?\n"
          "4: [Proxy] Threads=: 'none' is not allowed. Allowed: a number from 1 to 256, or auto\n"
          "5: [Sever x]: Unknown group; did you mean [Server x]?\n"
          "13: [Server s] Address=: The key is missing: write the server's HOST:PORT or "
          "unix:/PATH\n"
          "13: warning: [Server s]: No route uses it\n" },

        /* Names of groups and keys. */
        { "unknown-group", REST "[Sylog]\n[Database main]\n[route x]\n[Prox]\n[Servers]\n",
          "7: [Sylog]: Unknown group; did you mean [Syslog NAME]?\n"
          "8: [Database main]: Unknown group. There are [Proxy], [Log], [Listener NAME], [Server "
          "NAME], [Route NAME], [Answer NAME] and [Syslog NAME]\n"
          "9: [route x]: Unknown group; did you mean [Route x]?\n"
          "10: [Prox]: Unknown group; did you mean [Proxy]?\n"
          "11: [Servers]: Unknown group; did you mean [Server NAME]?\n" },
        { "syslog-addresses",
          REST "[Syslog a]\n[Syslog b]\nAddress=tpc:h\n[Syslog c]\nAddress=h:514\n"
               "[Syslog d]\nAddress=tcp:unix:/dev/log\n[Syslog e]\nAddress=unix:log\n"
               "[Syslog f]\nAddress=udp:h:0\n",
          "7: [Syslog a] Address=: The key is missing: write tls:HOST:PORT, tcp:HOST:PORT, "
          "udp:HOST:PORT or unix:/dev/log\n"
          "9: [Syslog b] Address=: 'tpc:h' does not say how. Write tls:HOST:PORT, tcp:HOST:PORT, "
          "udp:HOST:PORT or unix:/dev/log\n"
          "11: [Syslog c] Address=: 'h:514' does not say how. Write tls:HOST:PORT, tcp:HOST:PORT, "
          "udp:HOST:PORT or unix:/dev/log\n"
          "13: [Syslog d] Address=: For a Unix socket write unix:/PATH and nothing before it\n"
          "15: [Syslog e] Address=: Socket path 'log' is not absolute: write unix:/PATH, or "
          "unix:@NAME for an abstract name\n"
          "17: [Syslog f] Address=: Port '0' is not a number from 1 to 65535\n" },
        { "syslog-values",
          REST "[Syslog a]\nAddress=udp:h\nFacility=lokal0\nHostname=a b\nMaxMessage=511\n"
               "Queue=0\nCAFile=/ca.pem\n",
          "9: [Syslog a] Facility=: 'lokal0' is not allowed; did you mean local0? Allowed: kern, "
          "user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0, local1, "
          "local2, local3, local4, local5, local6 or local7\n"
          "10: [Syslog a] Hostname=: 'a b' is not allowed. Allowed: up to 255 letters, digits and "
          "signs of ASCII, without blanks\n"
          "11: [Syslog a] MaxMessage=: '511' is not allowed. Allowed: a number from 512 to 65000, "
          "or auto\n"
          "12: [Syslog a] Queue=: '0' is not allowed. Allowed: a number from 1 to 1000000\n"
          "13: warning: [Syslog a] CAFile=: Without Address=tls: this has no effect\n" },
        { "syslog-without-its-ca", REST "[Syslog a]\nAddress=tls:h\nCAFile=/no/such/ca.pem\n",
          "9: [Syslog a] CAFile=: /no/such/ca.pem can't be read: there is no such file\n" },
        { "group-with-a-name-too-many", "[Proxy main]\nThreads=2\n" REST,
          "1: [Proxy main]: This group has no name: write [Proxy]\n" },
        { "group-without-its-name", "[Route]\nPath=x\n" REST,
          "1: [Route]: The name is missing: write [Route NAME]\n" },
        { "group-with-a-bad-name",
          "[Answer  x]\n[Answer \xc3\xa4]\n[Answer a b]\n[Answer:x]\n" REST,
          "1: [Answer  x]: Write [Answer NAME]: one blank, and a name of letters, digits, '.', '_' "
          "and '-', at most 64 of them\n"
          "2: [Answer \xc3\xa4]: Write [Answer NAME]: one blank, and a name of letters, digits, "
          "'.', '_' and '-', at most 64 of them\n"
          "3: [Answer a b]: Write [Answer NAME]: one blank, and a name of letters, digits, '.', "
          "'_' and '-', at most 64 of them\n"
          "4: [Answer:x]: Write [Answer NAME]: one blank, and a name of letters, digits, '.', '_' "
          "and '-', at most 64 of them\n" },
        { "unknown-key-names-nearest", "[Proxy]\nmaxsessions=2\n" REST "Pth=y\nColour=red\n",
          "2: [Proxy] maxsessions=: Unknown key; did you mean MaxSessions=?\n"
          "9: [Answer a] Pth=: Unknown key here: Path= belongs in [Route NAME]\n"
          "10: [Answer a] Colour=: Unknown key. [Answer a] can have Commands= and "
          "Result=\n" },
        { "key-of-another-group", REST "StopTimeout=3s\nWeight=2\n",
          "7: [Answer a] StopTimeout=: Unknown key here: StopTimeout= belongs in [Proxy]\n"
          "8: [Answer a] Weight=: Unknown key here: Weight= belongs in [Server NAME]\n" },

        /* Values. */
        { "yes-or-no", "[Proxy]\nForwardedFor=maybe\nRewriteHost=YES\nReportStatus=\n" REST,
          "2: [Proxy] ForwardedFor=: 'maybe' is not allowed. Allowed: yes, no, true, false, on, "
          "off, 1 or 0\n"
          "3: [Proxy] RewriteHost=: 'YES' is not allowed; did you mean yes? Allowed: yes, no, "
          "true, false, on, off, 1 or 0\n"
          "4: [Proxy] ReportStatus=: '' is not allowed. Allowed: yes, no, true, false, on, off, 1 "
          "or 0\n" },
        { "choice", "[Log]\nLevel=warn\nTarget=file\n" REST,
          "2: [Log] Level=: 'warn' is not allowed. Allowed: error, warning, notice, info or "
          "debug\n"
          "3: [Log] Target=: 'file' is not allowed. Allowed: auto, journal or console\n" },
        { "comment-after-value", "[Log]\nLevel=info # please\n" REST,
          "2: [Log] Level=: 'info # please' is not allowed. Allowed: error, warning, notice, info "
          "or debug (a comment needs a line of its own)\n" },
        { "count",
          "[Proxy]\nThreads=0\nMaxSessions=-1\n[Server "
          "s]\nAddress=h\nWeight=1001\nMaxSessions=0\n" LISTENER "[Route r]\nPath=*\nServers=s\n",
          "2: [Proxy] Threads=: '0' is not allowed. Allowed: a number from 1 to 256, or auto\n"
          "3: [Proxy] MaxSessions=: '-1' is not allowed. Allowed: a number from 1 to 10000000, or "
          "auto\n"
          "6: [Server s] Weight=: '1001' is not allowed. Allowed: a number from 1 to 1000\n"
          "7: [Server s] MaxSessions=: '0' is not allowed. Allowed: a number from 1 to 10000000, "
          "or infinity\n" },
        { "redact", "[Log]\nRedact=*pin*;pass.*;$x\n" REST,
          "2: [Log] Redact=: 'pass.*' is no pattern for names: write letters, digits, '_' and "
          "'-', with * for any of them and ? for one\n"
          "2: [Log] Redact=: '$x' is no pattern for names: write letters, digits, '_' and '-', "
          "with * for any of them and ? for one\n" },
        { "debug",
          "[Log]\nDebug=route:res;server:x;listener:in client:10.0.0.0/8;menu;client:h\n" REST,
          "2: [Log] Debug=: There is no group [Route res]; did you mean rest?\n"
          "2: [Log] Debug=: There is no group [Server x]\n"
          "2: [Log] Debug=: 'menu' is not allowed. Write route:NAME, server:NAME, listener:NAME or "
          "client:ADDRESS\n"
          "2: [Log] Debug=: 'h' is not a range of addresses: write ADDRESS, ADDRESS/BITS or unix, "
          "without a port\n" },
        { "rate-limit", "[Log]\nRateLimitBurst=0\nRateLimitInterval=10ms\n" REST,
          "2: [Log] RateLimitBurst=: '0' is not allowed. Allowed: a number from 1 to 10000000, or "
          "infinity\n"
          "3: [Log] RateLimitInterval=: '10ms' is not allowed. Allowed: from 1s to 1d\n" },
        { "time-text",
          "[Proxy]\nConnectTimeout=5m\nIdleTimeout=soon\nStopTimeout=\nSetupTimeout=1.5s\n"
          "RequestTimeout=5 3s\nThinkTimeout=99999999999999999999\nResolveInterval=s\n" REST,
          "2: [Proxy] ConnectTimeout=: '5m' is not a time. Write it as 500ms, 3s, 5min, 1h, 1d or "
          "1h30min, from 1ms to 1h\n"
          "3: [Proxy] IdleTimeout=: 'soon' is not a time. Write it as 500ms, 3s, 5min, 1h, 1d or "
          "1h30min, from 1ms to 365d, or infinity\n"
          "4: [Proxy] StopTimeout=: '' is not a time. Write it as 500ms, 3s, 5min, 1h, 1d or "
          "1h30min, from 1ms to 365d, or infinity\n"
          "5: [Proxy] SetupTimeout=: '1.5s' is not a time. Write it as 500ms, 3s, 5min, 1h, 1d or "
          "1h30min, from 1ms to 1h\n"
          "6: [Proxy] RequestTimeout=: '5 3s' is not a time. Write it as 500ms, 3s, 5min, 1h, 1d "
          "or 1h30min, from 1ms to 1h\n"
          "7: [Proxy] ThinkTimeout=: '99999999999999999999' is not a time. Write it as 500ms, 3s, "
          "5min, 1h, 1d or 1h30min, from 1ms to 365d, or infinity\n"
          "8: [Proxy] ResolveInterval=: 's' is not a time. Write it as 500ms, 3s, 5min, 1h, 1d or "
          "1h30min, from 1s to 1d\n" },
        { "time-out-of-range",
          "[Proxy]\nConnectTimeout=0\nIdleTimeout=366d\nSetupTimeout=infinity\n"
          "ResolveInterval=500ms\n" REST,
          "2: [Proxy] ConnectTimeout=: '0' is not allowed. Allowed: from 1ms to 1h\n"
          "3: [Proxy] IdleTimeout=: '366d' is not allowed. Allowed: from 1ms to 365d, or "
          "infinity\n"
          "4: [Proxy] SetupTimeout=: 'infinity' is not allowed. Allowed: from 1ms to 1h\n"
          "5: [Proxy] ResolveInterval=: '500ms' is not allowed. Allowed: from 1s to 1d\n" },
        { "bad-escape", "[Log]\nLevel=in\\fo\nTarget=auto\\\n" REST "Commands=a\\qb\n",
          "2: [Log] Level=: A backslash that escapes nothing: write \\\\ for one, or \\s, \\t, "
          "\\n, \\r\n"
          "3: [Log] Target=: A backslash that escapes nothing: write \\\\ for one, or \\s, \\t, "
          "\\n, \\r\n"
          "10: [Answer a] Commands=: A backslash that escapes nothing: write \\\\ for one, \\; for "
          "a semicolon, or \\s\n" },
        { "bad-escape-in-every-kind",
          "[Proxy]\nThreads=\\2\n[Syslog a]\nAddress=\\h\nHostname=\\h\n"
          "[Server s]\nAddress=\\h\n" REST "[Route q]\nPath=q\nServers=\\q\n",
          "2: [Proxy] Threads=: " ESCAPE "4: [Syslog a] Address=: " ESCAPE
          "5: [Syslog a] Hostname=: " ESCAPE "6: warning: [Server s]: No route uses it\n"
          "7: [Server s] Address=: " ESCAPE "16: [Route q] Servers=: " ESCAPE },
        { "address-of-a-server", "[Server s]\nAddress=h:0\n" REST,
          "1: warning: [Server s]: No route uses it\n"
          "2: [Server s] Address=: Port '0' is not a number from 1 to 65535\n" },
        { "tls-keys-without-effect",
          "[Listener x]\nListen=127.0.0.1:5\nTLS=yes\nClientCA=/ca\nCRL=/crl\n"
          "[Server s]\nAddress=h\nTLS=yes\nTLSPin=sha256:" PIN "\nCRL=/crl\nPrivateKey=/key\n"
          "[Route s]\nPath=s\nServers=s\n" REST,
          "3: [Listener x] TLS=: TLS=yes needs Certificate=, and PrivateKey= unless the key is in "
          "the same file\n"
          "4: warning: [Listener x] ClientCA=: No client is asked for a certificate: write "
          "ClientCertificate=required or optional\n"
          "5: warning: [Listener x] CRL=: No client is asked for a certificate, so it has no "
          "effect\n"
          "10: warning: [Server s] CRL=: Without CAFile= only TLSPin= counts, so it has no effect\n"
          "11: [Server s] PrivateKey=: The key of no certificate: write Certificate= too\n" },
        { "listen-on-a-name", "[Listener x]\nListen=localhost:5;127.0.0.1:9;example.com\n" ROUTE,
          "2: [Listener x] Listen=: 'localhost:5' is a name. Write an address to listen on, as "
          "127.0.0.1:5, [::1]:5, 0.0.0.0 or [::] for all, or unix:/PATH\n"
          "2: [Listener x] Listen=: 'example.com' is a name. Write an address to listen on, as "
          "127.0.0.1:4573, [::1]:4573, 0.0.0.0 or [::] for all, or unix:/PATH\n" },
        { "path",
          LISTENER "[Answer a]\n"
                   "[Route 1]\nAnswer=a\nPath=\n[Route 2]\nAnswer=a\nPath=/\n"
                   "[Route 3]\nAnswer=a\nPath=a//b\n[Route 4]\nAnswer=a\nPath=a/../b\n"
                   "[Route 5]\nAnswer=a\nPath=a/*\n[Route 6]\nAnswer=a\nPath=agi://h/a\n"
                   "[Route 7]\nAnswer=a\nPath=a?b=c\n[Route 8]\nAnswer=a\nPath=a\\tb\n",
          "6: [Route 1] Path=: '' is empty. Write a path as ivr/menu, or * for all other "
          "requests\n"
          "9: [Route 2] Path=: '/' is empty. Write a path as ivr/menu, or * for all other "
          "requests\n"
          "12: [Route 3] Path=: 'a//b' has an empty segment. Write it as ivr/menu\n"
          "15: [Route 4] Path=: 'a/../b' has a segment '.' or '..', which matches nothing but *\n"
          "18: [Route 5] Path=: 'a/*' has a '*' in it. It stands alone, for all other requests; a "
          "path matches everything below it anyway\n"
          "21: [Route 6] Path=: 'agi://h/a' is a URL. Write its path alone, as ivr/menu\n"
          "24: [Route 7] Path=: 'a?b=c' has a query. Routes are chosen by the path alone, as "
          "ivr/menu\n"
          "27: [Route 8] Path=: 'a\\tb' has a control byte\n" },
        { "path-with-escape", LISTENER "[Answer a]\n[Route r]\nAnswer=a\nPath=a%20b\n",
          "6: warning: [Route r] Path=: 'a%20b' has an escape in it. Paths are compared decoded: "
          "write the character itself\n" },
        { "commands", REST "Commands=VERBOSE a;;SET VARIABLE A a\\nb;Failure\n",
          "7: [Answer a] Commands=: Command 2 is empty\n"
          "7: [Answer a] Commands=: Command 3 has a control byte\n"
          "7: [Answer a] Commands=: Command 4 would end the session. Write Result=failure\n" },

        /* What only shows in the whole. */
        { "nothing-at-all", "",
          ": There is no listener: write a group [Listener NAME]\n"
          ": warning: There is no route, so every request will be refused: write a group [Route "
          "NAME]\n" },
        { "key-missing", LISTENER "[Server s]\n[Route r]\nServers=s\n",
          "3: [Server s] Address=: The key is missing: write the server's HOST:PORT or "
          "unix:/PATH\n"
          "4: [Route r] Path=: The key is missing: write a path as ivr/menu, or * for all other "
          "requests\n" },
        { "no-such-server",
          REST "[Server ivr-1]\nAddress=h\n[Route r]\nPath=r\nServers=ivr1;ivr-1;sales\n",
          "11: [Route r] Servers=: There is no group [Server ivr1]; did you mean ivr-1?\n"
          "11: [Route r] Servers=: There is no group [Server sales]\n" },
        { "no-such-answer",
          REST "[Route r]\nPath=r\nAnswer=closed\n[Server s]\nAddress=h\n[Route q]\nPath=q\n"
               "Servers=s\nFallback=b\n",
          "9: [Route r] Answer=: There is no group [Answer closed]\n"
          "15: [Route q] Fallback=: There is no group [Answer b]; did you mean a?\n" },
        { "two-answers", REST "[Answer b]\n[Route r]\nPath=r\nAnswer=a;b\n",
          "7: warning: [Answer b]: No route uses it\n"
          "10: [Route r] Answer=: Only one answer can be named here\n" },
        { "server-twice-in-a-route",
          LISTENER "[Server s]\nAddress=h\n[Route r]\nPath=r\nServers=s s\n",
          "7: [Route r] Servers=: 's' is named twice: to give it more sessions set its Weight=\n" },
        { "servers-and-answer",
          REST "[Server s]\nAddress=h\n[Route r]\nPath=r\nServers=s\nAnswer=a\n",
          "12: [Route r] Answer=: A route has Servers= or Answer=, not both. For what to do when "
          "no server can take the session write Fallback=a\n" },
        { "fallback-without-servers", REST "[Route r]\nPath=r\nFallback=a\n",
          "9: [Route r] Fallback=: There are no Servers= that it could stand in for. To answer "
          "every request write Answer=a\n" },
        { "route-to-nowhere", REST "[Route r]\nPath=r\n",
          "7: [Route r]: The route leads nowhere: write Servers= or Answer=\n" },
        { "two-routes-with-one-path",
          REST "[Route r]\nAnswer=a\nPath=/x/y/\n[Route q]\nAnswer=a\nPath=x/y\n",
          "12: [Route q] Path=: 'x/y' is the path of [Route r] already (FILE:9)\n" },
        { "unused", REST "[Server s]\nAddress=h\n[Answer b]\n",
          "7: warning: [Server s]: No route uses it\n"
          "9: warning: [Answer b]: No route uses it\n" },
        { "listener-nobody-reaches", "[Listener plain]\nAllow=::1;10.0.0.0/8\n" ROUTE,
          "1: warning: [Listener plain]: Nobody can reach it without Listen=, unless a systemd "
          "socket with FileDescriptorName=plain does it\n" },
        { "same-address-twice",
          "[Listener a]\nListen=127.0.0.1;unix:/x;[::1]:5\n[Listener b]\n"
          "Listen=[0::1]:5;127.0.0.1:4573;unix:/x;127.0.0.1:4574;127.0.0.1:4574\n" ROUTE,
          "4: [Listener b] Listen=: [::1]:5 can't be listened on: [Listener a] has [::1]:5 "
          "already (FILE:2)\n"
          "4: [Listener b] Listen=: 127.0.0.1:4573 can't be listened on: [Listener a] has "
          "127.0.0.1:4573 already (FILE:2)\n"
          "4: [Listener b] Listen=: unix:/x can't be listened on: [Listener a] has unix:/x already "
          "(FILE:2)\n"
          "4: [Listener b] Listen=: 127.0.0.1:4574 can't be listened on: [Listener b] has "
          "127.0.0.1:4574 already (FILE:4)\n" },
        { "all-addresses-and-one",
          "[Listener a]\nListen=0.0.0.0\n[Listener b]\nListen=127.0.0.1;[::]\n"
          "[Listener c]\nListen=[::1] 127.0.0.1:5\n" ROUTE,
          "4: [Listener b] Listen=: 127.0.0.1:4573 can't be listened on: [Listener a] has "
          "0.0.0.0:4573 already (FILE:2)\n"
          "6: [Listener c] Listen=: [::1]:4573 can't be listened on: [Listener b] has [::]:4573 "
          "already (FILE:4)\n" },
        { "allow-what-can-not-come",
          "[Listener a]\nListen=127.0.0.1\nAllow=::1 127.0.0.1\n[Listener b]\nListen=unix:/x\n"
          "Allow=10.0.0.0/8 unix\n[Listener c]\nListen=[::]\nAllow=::1;unix\n" ROUTE,
          "3: warning: [Listener a] Allow=: No IPv6 address is listened on, so no IPv6 client can "
          "come\n"
          "6: warning: [Listener b] Allow=: No IPv4 address is listened on, so no IPv4 client can "
          "come\n"
          "9: warning: [Listener c] Allow=: No Unix address is listened on, so no Unix client can "
          "come\n" },
};

static char *
replace(const char *text, const char *from, const char *to)
{
        g_auto(GStrv) parts = g_strsplit(text, from, -1);

        return g_strjoinv(to, parts);
}

/* All problems, one a line. */
static char *
print_problems(const GPtrArray *problems, const char *file)
{
        g_autoptr(GString) text = g_string_new(NULL);

        for (unsigned i = 0; i < problems->len; i++) {
                const SettingsProblem *problem = problems->pdata[i];
                g_autofree char *line = settings_problem_print(problem);
                const char *rest = line + strlen(file) + 1;
                size_t number = problem->line ? strcspn(rest, " ") : 0;

                g_assert_true(g_str_has_prefix(line, file));
                if (!problem->line)
                        rest--;
                g_string_append_len(text, rest, (gssize)number);
                g_string_append_printf(
                        text, "%s%s%s\n", number ? " " : ": ",
                        problem->is_error ? "" : "warning: ", rest + number + (number ? 1 : 2));
        }

        return replace(text->str, file, "FILE");
}

static void
test_case(const void *data)
{
        const Case *c = data;
        g_autofree char *folder = g_dir_make_tmp("agitator-XXXXXX", NULL);
        g_autofree char *file = g_build_filename(folder, "agitator.conf", NULL);
        g_autofree char *printed = NULL;
        g_autoptr(GPtrArray) problems = settings_problems_new();
        g_autoptr(Settings) settings = NULL;
        bool has_error = false;

        g_assert_true(g_file_set_contents(file, c->text, -1, NULL));
        settings = settings_file_load(file, problems);
        g_unlink(file);
        g_rmdir(folder);

        printed = print_problems(problems, file);
        g_assert_cmpstr(printed, ==, c->expected);

        for (unsigned i = 0; i < problems->len; i++)
                has_error |= ((SettingsProblem *)problems->pdata[i])->is_error;
        g_assert_true(has_error == !settings);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_set_nonfatal_assertions(); /* all cases that fail are shown */

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *name = g_strconcat("/settings-problems/", cases[i].name, NULL);

                g_test_add_data_func(name, &cases[i], test_case);
        }

        return g_test_run();
}
