<?php
// sysvsem and sysvmsg in the same loops. Each line on stdin asks for a batch of so many rounds, whose
// numbers go out as JSON.
//
//     contender.php ROW KEY KEY

set_error_handler(function ($level, $message) {
    throw new ErrorException($message);
});

[, $row, $key] = $argv;
if (str_starts_with($row, 'message')) {
    $queue = msg_get_queue($key);
} else {
    // It must outlive its last user, who would take the set away from the others.
    $semaphore = sem_get($key, 1, 0600, false);
}
$text = str_repeat('x', 64);

$batch = [
    'acquire' => function ($count) use (&$semaphore) {
        for ($i = 0; $i < $count; $i++) {
            sem_acquire($semaphore);
            sem_release($semaphore);
        }
    },
    'try-acquire' => function ($count) use (&$semaphore) {
        for ($i = 0; $i < $count; $i++) {
            sem_acquire($semaphore, true);
            sem_release($semaphore);
        }
    },
    'message' => function ($count) use (&$queue, $text) {
        for ($i = 0; $i < $count; $i++) {
            msg_send($queue, 1, $text, false, false);
            msg_receive($queue, 0, $type, 8192, $received, false, MSG_IPC_NOWAIT);
        }
    },
][$row];
while (($line = fgets(STDIN)) !== false) {
    $count = (int) $line;
    $start = hrtime(true);
    $batch($count);
    echo json_encode(['ns' => (hrtime(true) - $start) / $count]), "\n";
}
