import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The JDK's own WebSocket client against an echo: text, binary, fragments, ping and close. `java Echo.java URL` */
public final class Echo {
    private static final int WAIT_S = 60;
    private static final BlockingQueue<Object> heard = new LinkedBlockingQueue<>();

    public static void main(String[] args) throws Exception {
        WebSocket socket = HttpClient.newHttpClient().newWebSocketBuilder()
                .buildAsync(URI.create(args[0]), new Ear()).get(WAIT_S, TimeUnit.SECONDS);

        socket.sendText("grüß dich", true).get(WAIT_S, TimeUnit.SECONDS);
        expect("grüß dich");

        socket.sendText("in ", false).get(WAIT_S, TimeUnit.SECONDS);
        socket.sendText("two", true).get(WAIT_S, TimeUnit.SECONDS);
        expect("in two");

        byte[] large = new byte[1 << 20];
        for (int i = 0; i < large.length; i++) large[i] = (byte) (i * 31);
        socket.sendBinary(ByteBuffer.wrap(large), true).get(WAIT_S, TimeUnit.SECONDS);
        expect(ByteBuffer.wrap(large));

        socket.sendPing(ByteBuffer.wrap(new byte[] {1, 2, 3})).get(WAIT_S, TimeUnit.SECONDS);
        expect("pong of 3");

        socket.sendClose(WebSocket.NORMAL_CLOSURE, "done").get(WAIT_S, TimeUnit.SECONDS);
        expect("close 1000");
        System.out.println("echo ok");
    }

    private static void expect(Object wanted) throws InterruptedException {
        Object got = heard.poll(WAIT_S, TimeUnit.SECONDS);
        if (!wanted.equals(got)) {
            throw new AssertionError("wanted " + wanted + ", got " + got);
        }
    }

    /** Puts whole messages together and queues what was heard. */
    private static final class Ear implements WebSocket.Listener {
        private final StringBuilder text = new StringBuilder();
        private final java.io.ByteArrayOutputStream bytes = new java.io.ByteArrayOutputStream();

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence data, boolean last) {
            text.append(data);
            if (last) {
                heard.add(text.toString());
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer data, boolean last) {
            byte[] piece = new byte[data.remaining()];
            data.get(piece);
            bytes.writeBytes(piece);
            if (last) {
                heard.add(ByteBuffer.wrap(bytes.toByteArray()));
                bytes.reset();
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onPong(WebSocket socket, ByteBuffer data) {
            heard.add("pong of " + data.remaining());
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            heard.add("close " + code);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable error) {
            heard.add("error " + error);
        }
    }
}
