#!/usr/bin/perl
# SPDX-License-Identifier: GPL-3.0-or-later
# A FastAGI server that speaks TLS by IO::Socket::SSL, one call after the other. Prints its port.
# usage: perl-tls-server.pl CERTIFICATE-AND-KEY

use strict;
use warnings;

use IO::Socket::SSL;

my $listener = IO::Socket::SSL->new(
    LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 64, ReuseAddr => 1,
    SSL_cert_file => $ARGV[0], SSL_key_file => $ARGV[0]) or die $SSL_ERROR;

$| = 1;
print $listener->sockport, "\n";

while (1) {
    my $client = $listener->accept or next;
    my $request = '';

    while (defined(my $line = <$client>)) {
        $request = $1 if $line =~ /^agi_request: (.*)$/;
        last if $line eq "\n";
    }
    for my $command ('ANSWER', "SET VARIABLE REQUEST $request", 'VERBOSE done 3') {
        print $client "$command\n";
        <$client>;
    }
    $client->close;
}
