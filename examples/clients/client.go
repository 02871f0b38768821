package main // Calls the API for each path on standard input, and prints the status.

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
)

func send(path string) (int, error) {
	token, err := os.ReadFile(os.Getenv("TOKEN_FILE")) // for each request: the file is replaced
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequest("GET", os.Getenv("API_URL")+path, nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func main() {
	for paths := bufio.NewScanner(os.Stdin); paths.Scan(); {
		status, err := send(paths.Text())
		if status == 401 {
			status, err = send(paths.Text()) // once, with the file as it is now
		}
		fmt.Println(status, err)
	}
}
