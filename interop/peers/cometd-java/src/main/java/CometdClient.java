import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;

import org.cometd.bayeux.Channel;
import org.cometd.bayeux.Message;
import org.cometd.bayeux.client.ClientSessionChannel;
import org.cometd.client.BayeuxClient;
import org.cometd.client.ext.AckExtension;
import org.cometd.client.ext.TimesyncClientExtension;
import org.cometd.client.http.jetty.JettyHttpClientTransport;
import org.cometd.client.transport.ClientTransport;
import org.cometd.client.websocket.jakarta.WebSocketTransport;
import org.eclipse.jetty.client.HttpClient;
import org.eclipse.jetty.util.ajax.JSON;

/** CometD's Java client, driven over JSON lines; each user is a client of its own. */
public class CometdClient {
    private static final long LIMIT = 16 * 1024 * 1024;
    private static final List<String> TELLING =
        List.of(Channel.META_HANDSHAKE, Channel.META_CONNECT, Channel.META_SUBSCRIBE, Channel.META_DISCONNECT);
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    private static final Map<Long, User> USERS = new ConcurrentHashMap<>();
    private static HttpClient http;
    private static WebSocketContainer sockets;

    public static void main(String[] args) throws Exception {
        http = new HttpClient();
        // Cookies belong to a BayeuxClient, which brings its own store.
        http.start();
        sockets = ContainerProvider.getWebSocketContainer();
        ExecutorService verbs = Executors.newCachedThreadPool();
        write(null);
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            @SuppressWarnings("unchecked")
            Map<String, Object> command = (Map<String, Object>)new JSON().fromJSON(line);
            User user = USERS.computeIfAbsent((Long)command.get("user"), User::new);
            // Opening and closing wait, all else answers through callbacks and keeps its order.
            if (List.of("open", "close").contains(command.get("do"))) {
                verbs.submit(() -> user.handle(command));
            } else {
                user.handle(command);
            }
        }
        System.exit(0);
    }

    private static synchronized void write(Map<String, Object> line) {
        OUT.println(line == null ? "READY" : new JSON().toJSON(line));
        OUT.flush();
    }

    private static class User {
        private final long number;
        private final Map<String, ClientSessionChannel.MessageListener> subscriptions = new ConcurrentHashMap<>();
        private final AtomicBoolean slow = new AtomicBoolean();
        private BayeuxClient client;

        private User(long number) {
            this.number = number;
        }

        private void handle(Map<String, Object> command) {
            Long id = (Long)command.get("id");
            try {
                String channel = (String)command.get("channel");
                switch ((String)command.get("do")) {
                    case "open" -> open(id, command);
                    case "subscribe" -> {
                        ClientSessionChannel.MessageListener listener = (from, message) -> deliver(message);
                        client.getChannel(channel).subscribe(listener, reply -> {
                            if (reply.isSuccessful()) {
                                subscriptions.put(channel, listener);
                            }
                            answer(id, reply, null);
                        });
                    }
                    case "unsubscribe" -> client.getChannel(channel)
                        .unsubscribe(subscriptions.remove(channel), reply -> answer(id, reply, null));
                    case "publish" -> client.getChannel(channel)
                        .publish(command.get("data"), reply -> answer(id, reply, null));
                    case "batch" -> batch(id, (Object[])command.get("messages"));
                    case "request" -> client.remoteCall(channel.substring("/service/".length()), command.get("data"),
                        reply -> answer(id, reply, reply.getData()));
                    case "connected" -> ok(id, client.isConnected());
                    case "close" -> {
                        client.disconnect(3000);
                        ok(id, null);
                    }
                    default -> throw new IllegalArgumentException(String.valueOf(command.get("do")));
                }
            } catch (Throwable failure) {
                error(id, null, failure.toString());
            }
        }

        private void open(Long id, Map<String, Object> command) {
            Map<?, ?> plain = (Map<?, ?>)command.get("plain");
            Map<String, Object> options = new HashMap<>();
            if (plain == null) {
                options.put(ClientTransport.MAX_MESSAGE_SIZE_OPTION, LIMIT);
                options.put(ClientTransport.MAX_SEND_BAYEUX_MESSAGE_SIZE_OPTION, LIMIT);
            }
            slow.set(plain != null && (Boolean)plain.get("slow"));
            List<ClientTransport> transports = new ArrayList<>();
            boolean fallback = plain != null && (Boolean)plain.get("fallback");
            if (fallback || "websocket".equals(command.get("transport"))) {
                transports.add(new WebSocketTransport(options, null, sockets));
            }
            if (fallback || "long-polling".equals(command.get("transport"))) {
                transports.add(new JettyHttpClientTransport(options, http));
            }
            client = new BayeuxClient((String)command.get("url"), transports.remove(0),
                transports.toArray(new ClientTransport[0]));
            if (plain == null || (Boolean)plain.get("ack")) {
                client.addExtension(new AckExtension());
            }
            if (plain == null) {
                client.addExtension(new TimesyncClientExtension());
            }
            for (String channel : TELLING) {
                client.getChannel(channel).addListener((ClientSessionChannel.MessageListener)(from, message) -> {
                    if (!message.isSuccessful()) {
                        tell(message);
                    }
                });
            }
            // As the documentation describes: the client subscribes again with each new session.
            client.getChannel(Channel.META_HANDSHAKE).addListener((ClientSessionChannel.MessageListener)(from, reply) -> {
                if (reply.isSuccessful()) {
                    client.batch(() -> subscriptions.forEach(
                        (name, listener) -> client.getChannel(name).subscribe(listener)));
                }
            });
            Map<String, Object> fields = new HashMap<>();
            fields.put(Message.EXT_FIELD, command.get("ext"));
            AtomicReference<Message> handshake = new AtomicReference<>();
            client.handshake(fields, handshake::set);
            boolean connected = client.waitFor(20_000, BayeuxClient.State.CONNECTED, BayeuxClient.State.DISCONNECTED);
            if (client.isConnected()) {
                ok(id, null);
            } else if (handshake.get() != null) {
                answer(id, handshake.get(), null);
            } else {
                error(id, null, connected ? "ended" : "no handshake within 20 s");
            }
        }

        private void batch(Long id, Object[] messages) {
            AtomicInteger missing = new AtomicInteger(messages.length);
            AtomicReference<Message> refused = new AtomicReference<>();
            client.batch(() -> {
                for (Object element : messages) {
                    Map<?, ?> message = (Map<?, ?>)element;
                    client.getChannel((String)message.get("channel")).publish(message.get("data"), reply -> {
                        if (!reply.isSuccessful()) {
                            refused.set(reply);
                        }
                        if (missing.decrementAndGet() == 0) {
                            answer(id, refused.get() == null ? reply : refused.get(), null);
                        }
                    });
                }
            });
        }

        private void deliver(Message message) {
            if (slow.getAndSet(false)) {
                try {
                    Thread.sleep(3000);
                } catch (InterruptedException stopped) {
                    return;
                }
            }
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("user", number);
            line.put("channel", message.getChannel());
            line.put("data", message.getData());
            write(line);
        }

        private void tell(Message message) {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("user", number);
            line.put("reported", String.valueOf(message));
            write(line);
        }

        private void answer(Long id, Message reply, Object value) {
            if (reply.isSuccessful()) {
                ok(id, value);
                return;
            }
            String text = String.valueOf(reply.get(Message.ERROR_FIELD));
            Long code = text.matches("\\d{3}:.*") ? Long.valueOf(text.substring(0, 3)) : null;
            error(id, code, new JSON().toJSON(reply));
        }

        private void ok(Long id, Object value) {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("id", id);
            line.put("ok", value);
            write(line);
        }

        private void error(Long id, Long code, String text) {
            Map<String, Object> error = new LinkedHashMap<>();
            error.put("code", code);
            error.put("text", text);
            write(Map.of("id", id, "error", error));
        }
    }
}
