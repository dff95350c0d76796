<?php
// Does with sysvsem, sysvmsg, sysvshm and shmop what it is told in lines, and answers each with a line.

set_error_handler(function ($level, $message) {
    throw new ErrorException($message);
});

$semaphores = [];
$verbs = [
    'key' => fn($name) => (unpack('N', hash('sha256', $name, true))[1] & 0x7fffffff) ?: 1,
    'ftok' => fn($path, $project) => ftok($path, chr($project)),
    // What PHP calls a semaphore is a set of three: the value, the number of users, a lock for the first.
    'get_semaphore' => function ($key, $value) use (&$semaphores) {
        $semaphores[$key] = sem_get($key, $value, 0600, true);
        return 'done';
    },
    'acquire' => function ($key) use (&$semaphores) {
        sem_acquire($semaphores[$key]);
        return 'done';
    },
    'release' => function ($key) use (&$semaphores) {
        sem_release($semaphores[$key]);
        return 'done';
    },
    'create_queue' => function ($key) {
        msg_get_queue($key, 0600);
        return 'done';
    },
    'send' => function ($key, $type, $text) {
        msg_send(msg_get_queue($key), $type, $text, serialize: false);
        return 'done';
    },
    'send_serialized' => function ($key, $type, $text) {
        msg_send(msg_get_queue($key), $type, $text);
        return 'done';
    },
    'receive' => function ($key, $type) {
        msg_receive(msg_get_queue($key), $type, $received, 8192, $text, unserialize: false);
        return "$received $text";
    },
    'create_memory' => function ($key, $size) {
        shmop_open($key, 'n', 0600, $size);
        return 'done';
    },
    'write' => function ($key, $offset, $text) {
        shmop_write(shmop_open($key, 'w', 0, 0), $text, $offset);
        return 'done';
    },
    'read' => fn($key, $offset, $length) => shmop_read(shmop_open($key, 'a', 0, 0), $offset, $length),
    'put_variable' => function ($key, $size, $number, $text) {
        shm_put_var(shm_attach($key, $size), $number, $text);
        return 'done';
    },
    'get_variable' => fn($key, $size, $number) => shm_get_var(shm_attach($key, $size), $number),
];

while (($line = fgets(STDIN)) !== false) {
    $words = array_map(fn($word) => is_numeric($word) ? (int) $word : $word, explode(' ', trim($line)));
    $verb = array_shift($words);
    fwrite(STDOUT, $verbs[$verb](...$words) . "\n");
}
