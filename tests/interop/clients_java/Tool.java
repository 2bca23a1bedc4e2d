// Apache Kafka's console tools, run by their main classes inside of this process: a start of Java for each would cost
// more than what they do.

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.common.utils.Exit;

final class Tool {
    private static final Switch OUT = new Switch(System.out);
    private static final Switch ERR = new Switch(System.err);

    /** A stream that goes now here, now there: some tools keep the System.out that they found first. */
    private static final class Switch extends OutputStream {
        private final OutputStream usual;
        private volatile OutputStream target;

        Switch(OutputStream usual) {
            this.usual = usual;
            this.target = usual;
        }

        @Override
        public void write(int one) throws IOException {
            target.write(one);
        }

        @Override
        public void write(byte[] bytes, int from, int count) throws IOException {
            target.write(bytes, from, count);
        }

        @Override
        public void flush() throws IOException {
            target.flush();
        }
    }

    private Tool() {}

    /** Before the first tool looks at them. */
    static void takeStreams() {
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
    }

    /** One at a time: they own System.in, System.out and System.err meanwhile. */
    static synchronized Object run(JsonNode asked) throws Exception {
        List<String> arguments = new ArrayList<>();
        asked.get("arguments").forEach(each -> arguments.add(each.asText()));
        Method main = Class.forName(asked.get("class").asText()).getMethod("main", String[].class);
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        ByteArrayOutputStream told = new ByteArrayOutputStream();
        CompletableFuture<Integer> code = new CompletableFuture<>();
        // Where a tool would end the process its thread stops for ever: nothing after that may happen.
        Exit.Procedure ends = (status, message) -> {
            code.complete(status);
            while (true) {
                LockSupport.park();
            }
        };
        Exit.setExitProcedure(ends);
        Exit.setHaltProcedure(ends);
        InputStream in = System.in;
        try {
            System.setIn(new ByteArrayInputStream(
                    asked.get("given").asText().getBytes(StandardCharsets.UTF_8)));
            OUT.target = said;
            ERR.target = told;
            Thread thread = new Thread(() -> call(main, arguments, code));
            thread.setDaemon(true);
            thread.start();
            int status = code.get(Driver.WAIT_SECONDS, TimeUnit.SECONDS);
            System.out.flush();
            System.err.flush();
            return Driver.map(
                    "code", status,
                    "out", said.toString(StandardCharsets.UTF_8),
                    "err", told.toString(StandardCharsets.UTF_8));
        } finally {
            System.setIn(in);
            OUT.target = OUT.usual;
            ERR.target = ERR.usual;
        }
    }

    private static void call(Method main, List<String> arguments, CompletableFuture<Integer> code) {
        try {
            main.invoke(null, (Object) arguments.toArray(new String[0]));
            code.complete(0);
        } catch (InvocationTargetException raised) {
            raised.getCause().printStackTrace();
            code.complete(1);
        } catch (ReflectiveOperationException error) {
            code.completeExceptionally(error);
        }
    }
}
