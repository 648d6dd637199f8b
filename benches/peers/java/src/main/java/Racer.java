import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

import com.sun.management.OperatingSystemMXBean;
import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;

import org.cometd.client.BayeuxClient;
import org.cometd.client.ext.AckExtension;
import org.cometd.client.http.jetty.JettyHttpClientTransport;
import org.cometd.client.transport.ClientTransport;
import org.cometd.client.websocket.jakarta.WebSocketTransport;
import org.eclipse.jetty.client.HttpClient;

/** CometD's Java client. src/job.rs describes its arguments, src/meter.rs how it measures. */
public class Racer {
    private static final OperatingSystemMXBean SYSTEM =
        (OperatingSystemMXBean)ManagementFactory.getOperatingSystemMXBean();
    private static String url, task, transport;
    private static long warm, time;
    private static int count, size;
    private static boolean ack;
    private static HttpClient http;
    private static WebSocketContainer sockets;

    private static long seen, next = 1, began, since, cpu, from;
    private static final long[] calls = new long[4_000_000];
    private static int called;

    public static void main(String[] args) throws Exception {
        url = args[0];
        task = args[1];
        transport = args[2];
        warm = Long.parseLong(args[3]) * 1_000_000;
        time = Long.parseLong(args[4]) * 1_000_000;
        count = Integer.parseInt(args[5]);
        size = Integer.parseInt(args[6]);
        ack = "1".equals(args[7]);
        http = new HttpClient();
        http.setMaxConnectionsPerDestination(4096);
        http.start();
        sockets = ContainerProvider.getWebSocketContainer();
        Map<String, Object> payload = Map.of("text", "x".repeat(Math.max(0, size - 100)));
        switch (task) {
            case "idle" -> idle();
            case "receive" -> {
                BayeuxClient client = open(true);
                client.getChannel("/service/go").publish(1);
            }
            case "pipelined" -> {
                BayeuxClient client = open(false);
                Semaphore room = new Semaphore(count);
                while (true) {
                    room.acquire();
                    client.getChannel("/bench/publish").publish(payload, reply -> {
                        room.release();
                        message();
                    });
                }
            }
            default -> {
                BayeuxClient client = open(false);
                while (true) {
                    long start = System.nanoTime();
                    CountDownLatch answered = new CountDownLatch(1);
                    client.getChannel("/bench/publish").publish(payload, reply -> answered.countDown());
                    answered.await();
                    if (since > 0 && called < calls.length) {
                        calls[called++] = System.nanoTime() - start;
                    }
                    next = 0;
                    message();
                }
            }
        }
    }

    private static BayeuxClient open(boolean listen) throws Exception {
        Map<String, Object> options = new HashMap<>();
        options.put(ClientTransport.MAX_MESSAGE_SIZE_OPTION, 1 << 24);
        ClientTransport way = "websocket".equals(transport)
            ? new WebSocketTransport(options, null, sockets) : new JettyHttpClientTransport(options, http);
        BayeuxClient client = new BayeuxClient(url, way);
        if (ack) {
            client.addExtension(new AckExtension());
        }
        client.handshake();
        if (!client.waitFor(20_000, BayeuxClient.State.CONNECTED)) {
            throw new IllegalStateException("not connected");
        }
        if (listen) {
            CountDownLatch subscribed = new CountDownLatch(1);
            client.getChannel("/feed/**").subscribe((channel, message) -> message(), reply -> subscribed.countDown());
            subscribed.await(10, TimeUnit.SECONDS);
        }
        return client;
    }

    private static synchronized void message() {
        if (++seen < next) {
            return;
        }
        next = seen + 64;
        long now = System.nanoTime();
        if (began == 0) {
            began = now;
        } else if (since == 0 && now - began >= warm) {
            since = now;
            cpu = SYSTEM.getProcessCpuTime();
            from = seen;
        } else if (since > 0 && now - since >= time) {
            long used = SYSTEM.getProcessCpuTime() - cpu;
            Arrays.sort(calls, 0, called);
            double median = called > 0 ? calls[called / 2] / 1000.0 : 0;
            print(seen - from, (now - since) / 1e9, used / 1e9, median, 0);
        }
    }

    private static void print(long messages, double seconds, double used, double median, double each) {
        System.out.printf(
            java.util.Locale.ROOT,
            "{\"messages\":%d,\"seconds\":%f,\"cpu_seconds\":%f,\"peak_kib\":%d,\"p50_us\":%f,\"client_kib\":%f}%n",
            messages, seconds, used, kib("VmHWM"), median, each);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    private static long kib(String line) {
        try {
            return Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(text -> text.startsWith(line + ":"))
                .map(text -> Long.parseLong(text.replaceAll("\\D", "")))
                .findFirst().orElse(0L);
        } catch (Exception failure) {
            return 0;
        }
    }

    private static void idle() throws Exception {
        open(true);
        System.gc();
        long before = kib("VmRSS");
        List<BayeuxClient> clients = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            clients.add(open(true));
        }
        Thread.sleep(time / 1_000_000);
        System.gc();
        print(count, time / 1e9, 0, 0, (kib("VmRSS") - before) / (double)clients.size());
    }
}
