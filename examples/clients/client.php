<?php // Calls the API for each path on standard input, and prints the status.

function send(string $path): int
{
    $file = getenv('TOKEN_FILE') ?: '/var/run/convercus/token';
    clearstatcache(true); // or PHP goes where the links of a mounted Secret led up to two minutes ago
    $token = file_get_contents($file); // for each request: the file is replaced
    $context = stream_context_create(['http' => [
        'header' => "Authorization: Bearer $token",
        'ignore_errors' => true,
        'timeout' => 30,
    ]]);
    file_get_contents(getenv('API_URL') . $path, false, $context);
    return (int) explode(' ', $http_response_header[0])[1];
}

function call(string $path): int
{
    $status = send($path);
    return $status === 401 ? send($path) : $status; // once, with the file as it is now
}

while (($path = fgets(STDIN)) !== false) {
    echo call(trim($path)), "\n";
}
