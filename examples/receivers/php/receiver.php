<?php

// A receiver of Ringback's callbacks with nothing but PHP, 8.0 or later.
//
//   RINGBACK_CALLBACK_SECRETS=new,old php -S 127.0.0.1:$PORT receiver.php
//
// Prints one line of JSON for each event. Answers: 204 handled, now or before;
// 400 unreadable; 401 not signed, forged or stale; 405 not a POST; 409 being
// handled; 413 too large; 415 neither JSON nor a form; 500 failed: send again.
//
// What was handled is noted in files below RINGBACK_STATE_DIR, by default a
// directory of the user's below the one for temporary files.

declare(strict_types=1);

const TOLERANCE = 5 * 60; // seconds
const MAX_BODY = 64 * 1024;
const REMEMBER = 24 * 60 * 60; // seconds
const NUMBERS = ['timestamp', 'create_time', 'timeout', 'invite_time', 'duration', 'action',
    'login_time', 'logout_time', 'offline_time'];

// handle is where your program begins. When it throws, the callback is sent
// again later.
function handle(array $event): void
{
    $line = json_encode($event, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES);
    file_put_contents('php://stdout', $line . "\n");
}

final class Refusal extends Exception
{
    public function __construct(public int $status, string $text)
    {
        parent::__construct($text);
    }
}

function secrets(): array
{
    $list = array_filter(explode(',', (string) getenv('RINGBACK_CALLBACK_SECRETS')), fn ($s) => $s !== '');
    if ($list === []) {
        throw new RuntimeException('set RINGBACK_CALLBACK_SECRETS to the secret of the endpoint; several are separated by commas');
    }
    return $list;
}

// checkTime takes Unix seconds as text.
function checkTime(string $text, string $name): void
{
    if (preg_match('/\A\d{1,12}\z/', $text) !== 1) {
        throw new Refusal(400, "$name is not a number of seconds");
    }
    if (abs(time() - (int) $text) > TOLERANCE) {
        throw new Refusal(401, "$name is more than " . TOLERANCE . ' s from now: it is a replay, or a clock is wrong');
    }
}

// verifyHeader checks the signature of Standard Webhooks, which covers the ID,
// the time and the body. During a rotation there is one for each secret.
function verifyHeader(array $secrets, string $body): void
{
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    $given = $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '';
    if ($id === '' || $timestamp === '' || $given === '') {
        throw new Refusal(401, 'the webhook headers are missing: only signed callbacks are accepted');
    }
    $right = false;
    foreach ($secrets as $secret) {
        $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $secret, true));
        foreach (explode(' ', $given) as $signature) {
            $right = hash_equals($want, $signature) || $right;
        }
    }
    if (!$right) {
        throw new Refusal(401, 'webhook-signature matches none of the secrets');
    }
    checkTime($timestamp, 'webhook-timestamp');
}

// verifyBody checks the documented signature: SHA-1 of secret, timestamp and
// nonce in byte order. It does not cover the rest of the body.
function verifyBody(array $secrets, array $fields): void
{
    $timestamp = $fields['timestamp'] ?? null;
    $nonce = $fields['nonce'] ?? null;
    $signature = $fields['signature'] ?? null;
    if (!is_string($nonce) || !is_string($signature) || $nonce === '' || $signature === '') {
        throw new Refusal(401, 'nonce or signature is missing in the body');
    }
    if (!is_int($timestamp)) {
        throw new Refusal(400, 'timestamp is not a number of seconds');
    }
    $right = false;
    foreach ($secrets as $secret) {
        $parts = [$secret, (string) $timestamp, $nonce];
        sort($parts, SORT_STRING);
        $right = hash_equals(sha1(implode('', $parts)), $signature) || $right;
    }
    if (!$right) {
        throw new Refusal(401, 'the signature in the body matches none of the secrets');
    }
    checkTime((string) $timestamp, 'timestamp');
}

function parse(string $contentType, string $body): array
{
    $media = strtolower(trim(explode(';', $contentType)[0]));
    if ($media === 'application/json') {
        $fields = json_decode($body, true);
    } elseif ($media === 'application/x-www-form-urlencoded') {
        parse_str($body, $fields);
        foreach (NUMBERS as $name) {
            if (is_numeric($fields[$name] ?? null)) {
                $fields[$name] = (int) $fields[$name];
            }
        }
        if (isset($fields['user_ids'])) {
            $fields['user_ids'] = is_string($fields['user_ids']) ? json_decode($fields['user_ids'], true) : null; // arrays are JSON text
            if (!is_array($fields['user_ids'])) {
                throw new Refusal(400, 'user_ids is not a JSON array');
            }
        }
    } else {
        throw new Refusal(415, 'the Content-Type is neither application/json nor application/x-www-form-urlencoded');
    }
    if (!is_array($fields) || !is_string($fields['event'] ?? null)) {
        throw new Refusal(400, 'the body is broken, or has no event');
    }
    return $fields;
}

// once calls $handle unless it was done for this ID before. While it runs the
// file is locked; a process that dies leaves it unlocked and empty, so the
// next one tries again.
function once(string $id, callable $handle): void
{
    $user = function_exists('posix_getuid') ? posix_getuid() : get_current_user();
    $dir = getenv('RINGBACK_STATE_DIR') ?: sys_get_temp_dir() . "/ringback-receiver-$user";
    if (!is_dir($dir) && !@mkdir($dir, 0700, true) && !is_dir($dir)) {
        throw new RuntimeException("cannot make the directory $dir");
    }
    $file = fopen("$dir/" . hash('sha256', $id), 'c+');
    if ($file === false) {
        throw new RuntimeException("cannot write into $dir");
    }
    try {
        if (!flock($file, LOCK_EX | LOCK_NB)) {
            throw new Refusal(409, 'this callback is being handled');
        }
        if (stream_get_contents($file) === 'done') {
            return;
        }
        $handle();
        if (fwrite($file, 'done') !== 4 || !fflush($file)) {
            throw new RuntimeException("cannot write into $dir");
        }
    } finally {
        fclose($file); // gives the lock back
    }
    if (random_int(1, 1000) === 1) {
        foreach (glob("$dir/*") ?: [] as $old) {
            if (time() - (int) @filemtime($old) > REMEMBER) {
                @unlink($old);
            }
        }
    }
}

function receive(): void
{
    $secrets = secrets();
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        throw new Refusal(405, 'callbacks come by POST');
    }
    // The very bytes: the signature is over them.
    $body = (string) file_get_contents('php://input', false, null, 0, MAX_BODY + 1);
    if (strlen($body) > MAX_BODY) {
        throw new Refusal(413, 'the body is larger than ' . MAX_BODY . ' bytes');
    }
    verifyHeader($secrets, $body);
    $fields = parse($_SERVER['CONTENT_TYPE'] ?? '', $body);
    verifyBody($secrets, $fields);

    $id = $_SERVER['HTTP_WEBHOOK_ID'];
    once($id, function () use ($id, $fields): void {
        unset($fields['nonce'], $fields['signature']);
        handle([
            'id' => $id,
            'attempt' => (int) ($_SERVER['HTTP_RINGBACK_ATTEMPT'] ?? 0),
            'sequence' => (int) ($_SERVER['HTTP_RINGBACK_SEQUENCE'] ?? 0),
            'test' => ($_SERVER['HTTP_RINGBACK_TEST'] ?? '') === 'true',
        ] + $fields);
    });
}

try {
    receive();
    http_response_code(204);
} catch (Refusal $refusal) {
    http_response_code($refusal->status);
    header('Content-Type: text/plain; charset=utf-8');
    if ($refusal->status === 405) {
        header('Allow: POST');
    }
    echo $refusal->getMessage(), "\n";
} catch (Throwable $error) {
    error_log('receiver: ' . $error->getMessage());
    http_response_code(500);
    header('Content-Type: text/plain; charset=utf-8');
    echo "failed: send it again\n";
}
