import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
import java.util.Scanner;

/** Calls the API for each path on standard input, and prints the status. */
class Client {
    static final HttpClient HTTP = HttpClient.newHttpClient();
    static final Path TOKEN = Path.of(System.getenv().getOrDefault("TOKEN_FILE", "/var/run/convercus/token"));

    static int send(String path) throws Exception {
        var uri = URI.create(System.getenv("API_URL") + path);
        var token = Files.readString(TOKEN); // for each request: the file is replaced
        var request = HttpRequest.newBuilder(uri).header("Authorization", "Bearer " + token).build();
        return HTTP.send(request, HttpResponse.BodyHandlers.ofString()).statusCode();
    }

    public static void main(String[] args) throws Exception {
        for (var paths = new Scanner(System.in); paths.hasNextLine(); ) {
            var path = paths.nextLine();
            var status = send(path);
            System.out.println(status == 401 ? send(path) : status); // once, with the file as it is now
        }
    }
}
