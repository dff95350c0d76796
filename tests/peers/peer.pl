# Does with IPC::SysV what it is told in lines, and answers each with a line.

use strict;
use warnings;
use Digest::SHA qw(sha256);
use IPC::Msg;
use IPC::Semaphore;
use IPC::SysV qw(IPC_CREAT IPC_EXCL SEM_UNDO ftok);

my $new = IPC_CREAT | IPC_EXCL | 0600;

sub semaphore { IPC::Semaphore->new($_[0], 0, 0) // die "semget: $!" }
sub queue     { IPC::Msg->new($_[0], 0)          // die "msgget: $!" }
sub memory    { shmget($_[0], 0, 0)              // die "shmget: $!" }

my %verbs = (
    key => sub { (unpack("N", sha256($_[0])) & 0x7fffffff) || 1 },
    ftok => sub { ftok($_[0], $_[1] + 0) },
    create_semaphore => sub {
        my ($key, $value) = @_;
        my $semaphore = IPC::Semaphore->new($key, 1, $new) // die "semget: $!";
        $semaphore->setval(0, $value) // die "semctl: $!";
        return $semaphore->id;
    },
    value => sub { semaphore($_[0])->getval(0) },
    operate => sub {
        my ($key, $delta, $undo) = @_;
        semaphore($key)->op(0, $delta, $undo ? SEM_UNDO : 0) or die "semop: $!";
        return "done";
    },
    create_queue => sub { (IPC::Msg->new($_[0], $new) // die "msgget: $!")->id },
    send => sub {
        my ($key, $type, $text) = @_;
        queue($key)->snd($type, $text) or die "msgsnd: $!";
        return "done";
    },
    receive => sub {
        my ($key, $type) = @_;
        my $text;
        $type = queue($key)->rcv($text, 8192, $type) // die "msgrcv: $!";
        return "$type $text";
    },
    create_memory => sub { shmget($_[0], $_[1], $new) // die "shmget: $!" },
    write => sub {
        my ($key, $offset, $text) = @_;
        shmwrite(memory($key), $text, $offset, length $text) or die "shmwrite: $!";
        return "done";
    },
    read => sub {
        my ($key, $offset, $length) = @_;
        my $text;
        shmread(memory($key), $text, $offset, $length) or die "shmread: $!";
        return $text;
    },
);

$| = 1;
while (my $line = <STDIN>) {
    my ($verb, @words) = split " ", $line;
    print $verbs{$verb}->(@words), "\n";
}
