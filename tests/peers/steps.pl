# Performs steps of semaphore sets with IPC::Semaphore, as it is told in lines: operate ID STEP, try
# ID STEP, values ID SIZE, where a step is index,delta[,undo] index,delta[,undo] and so on.

use strict;
use warnings;
use Errno;
use IPC::SysV qw(GETALL IPC_NOWAIT SEM_UNDO);

sub name_of_error {
    my ($name) = grep { $!{$_} } qw(EAGAIN EIDRM EINVAL ERANGE);
    return $name // "$!";
}

sub perform {
    my ($flags, $id, @step) = @_;
    my @operations = map {
        my ($index, $delta, $undo) = split /,/;
        pack "Ss2", $index, $delta, $flags | ($undo ? SEM_UNDO : 0);
    } @step;
    return semop($id, join "", @operations) ? "done" : name_of_error();
}

my %verbs = (
    operate => sub { perform(0, @_) },
    try => sub { perform(IPC_NOWAIT, @_) },
    values => sub {
        my ($id, $size) = @_;
        my $found = "";
        semctl($id, 0, GETALL, $found) // return name_of_error();
        return join ",", (unpack "S*", $found)[0 .. $size - 1];
    },
);

$| = 1;
while (my $line = <STDIN>) {
    my ($verb, @words) = split " ", $line;
    print $verbs{$verb}->(@words), "\n";
}
