// Apache Kafka's own Java client behind lines of JSON: what tests/interop/drivers.py asks, it does and answers.
//
// A request is {"id": N, "do": VERB, ...}; its answer {"id": N, "ok": ...} or {"id": N, "error": {"name", "text"}}.
// Members of groups and producers under load tell what happens to them in lines of their own. Requests run side by
// side. It must never change the client's behaviour beyond its public settings.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

public final class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    static final long WAIT_SECONDS = 60;
    // The tools print to System.out, which is theirs while one runs.
    private static final PrintStream OUT = System.out;

    private Driver() {}

    static void say(Map<String, Object> line) {
        try {
            String text = JSON.writeValueAsString(line);
            synchronized (OUT) {
                OUT.println(text);
                OUT.flush();
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    static Map<String, Object> map(Object... pairs) {
        Map<String, Object> made = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            made.put((String) pairs[i], pairs[i + 1]);
        }
        return made;
    }

    /** The cause that the client names, without the wrappers of its futures. */
    static Throwable cause(Throwable error) {
        while ((error instanceof ExecutionException || error instanceof CompletionException)
                && error.getCause() != null) {
            error = error.getCause();
        }
        return error;
    }

    private static Object perform(JsonNode asked) throws Exception {
        String verb = asked.get("do").asText();
        switch (verb) {
            case "version":
                return map(
                        "client", "Apache Kafka's Java client",
                        "version", org.apache.kafka.common.utils.AppInfoParser.getVersion());
            case "produce":
                return Records.produce(asked);
            case "begin_transaction":
                return Records.beginTransaction(asked);
            case "consume":
                return Records.consume(asked);
            case "offsets":
                return Records.offsets(asked);
            case "join":
                return GroupMember.join(asked);
            case "leave":
                return GroupMember.leave(asked);
            case "load":
                return Load.begin(asked);
            case "end_load":
                return Load.end(asked);
            case "tool":
                return Tool.run(asked);
            default:
                return Administration.perform(verb, asked);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Tool.takeStreams();
        ExecutorService threads = Executors.newCachedThreadPool(task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String line;
        while ((line = lines.readLine()) != null) {
            JsonNode asked = JSON.readTree(line);
            threads.submit(() -> {
                long id = asked.get("id").asLong();
                try {
                    Object answer = perform(asked);
                    say(map("id", id, "ok", answer));
                } catch (Throwable raised) {
                    Throwable error = cause(raised);
                    say(map("id", id, "error", map(
                            "name", error.getClass().getSimpleName(),
                            "text", String.valueOf(error))));
                }
            });
        }
        // The end of input is the end of everything, whatever still runs.
        Runtime.getRuntime().halt(0);
    }
}
