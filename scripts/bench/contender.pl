# IPC::SysV in the same loops. Each line on stdin asks for a batch of so many rounds, whose numbers go
# out as JSON.
#
#     contender.pl ROW KEY KEY

use strict;
use warnings;
use IPC::Msg;
use IPC::Semaphore;
use IPC::SysV qw(IPC_NOWAIT SEM_UNDO);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

$| = 1;
my ($row, @keys) = @ARGV;
my $text = 'x' x 64;
my ($queue, $first, $second);
if ($row =~ /^message/) {
    $queue = IPC::Msg->new($keys[0], 0) or die "msgget: $!";
} else {
    $first = IPC::Semaphore->new($keys[0], 0, 0) or die "semget: $!";
    $second = IPC::Semaphore->new($keys[1], 0, 0) or die "semget: $!";
}

sub now { clock_gettime(CLOCK_MONOTONIC) }

sub timed {
    my ($run) = @_;
    return sub {
        my ($count) = @_;
        my $start = now();
        $run->($count);
        return sprintf '{ "ns": %f }', (now() - $start) * 1e9 / $count;
    };
}

sub pairs {
    my ($down, $up) = @_;
    return timed(sub {
        for (1 .. $_[0]) {
            $first->op(0, -1, $down) or die "semop: $!";
            $first->op(0, +1, $up) or die "semop: $!";
        }
    });
}

my %batches = (
    'acquire' => pairs(SEM_UNDO, SEM_UNDO),
    'try-acquire' => pairs(SEM_UNDO | IPC_NOWAIT, SEM_UNDO),
    'increment' => pairs(0, 0),
    'increment-undo' => pairs(SEM_UNDO, SEM_UNDO),
    'value' => timed(sub { $first->getval(0) // die "semctl: $!" for 1 .. $_[0] }),
    'message' => timed(sub {
        my $received;
        for (1 .. $_[0]) {
            $queue->snd(1, $text, IPC_NOWAIT) or die "msgsnd: $!";
            $queue->rcv($received, 8192, 0, IPC_NOWAIT) or die "msgrcv: $!";
        }
    }),
    'sync' => sub {
        my ($count) = @_;
        my @times;
        for (1 .. $count) {
            my $start = now();
            $second->op(0, +1, 0) or die "semop: $!";
            $first->op(0, -1, 0) or die "semop: $!";
            push @times, now() - $start;
        }
        return sprintf '{ "us": %f }', (sort { $a <=> $b } @times)[$count / 2] * 1e6;
    },
    'answer-sync' => sub {
        while (1) {
            $second->op(0, -1, 0) or die "semop: $!";
            $first->op(0, +1, 0) or die "semop: $!";
        }
    },
);
my $batch = $batches{$row} or die "$row: no such row";
while (my $count = <STDIN>) { print $batch->($count), "\n" }
