#!/usr/bin/perl
# SPDX-License-Identifier: GPL-3.0-or-later
# A FastAGI server as people write them: Asterisk::AGI on Net::Server. Prints its port.
package PerlAgiServer;

use strict;
use warnings;

use Asterisk::AGI;
use Net::Server::Fork;
our @ISA = ('Net::Server::Fork');

sub post_bind_hook {
    my $self = shift;

    print $self->{server}{sock}[0]->NS_port, "\n";
}

sub process_request {
    my $agi = Asterisk::AGI->new;
    my %input = $agi->ReadParse;
    my $hung_up = 0;

    $agi->setcallback(sub { $hung_up = 1 });
    $agi->answer;
    $agi->set_variable('REQUEST', $input{request});
    $agi->set_variable('ARGUMENT', $input{arg_1});
    $agi->set_variable('SEEN', $agi->get_variable('REQUEST'));
    $agi->stream_file('hello-world', '""');
    $agi->verbose('done', 3);
}

$| = 1;
PerlAgiServer->run(proto => 'tcp', host => '127.0.0.1', port => 0, ipv => 4, log_level => 0);
