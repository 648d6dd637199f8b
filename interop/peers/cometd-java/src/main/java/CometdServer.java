import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;

import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.AbstractService;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.DefaultSecurityPolicy;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.ext.ActivityExtension;
import org.cometd.server.ext.BinaryExtension;
import org.cometd.server.ext.TimestampExtension;
import org.cometd.server.ext.TimesyncExtension;
import org.cometd.server.http.JSONHttpTransport;
import org.cometd.server.http.JSONPHttpTransport;
import org.cometd.server.http.jakarta.CometDServlet;
import org.cometd.server.websocket.jetty.JettyWebSocketTransport;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.ajax.JSON;
import org.eclipse.jetty.websocket.server.ServerWebSocketContainer;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/**
 * A CometD server with the services that the scenarios use. Prints {@code READY URL}, and ends when its standard
 * input does, so that it cannot outlive the process that started it.
 */
public class CometdServer {
    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);

        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(port);
        server.addConnector(connector);

        WebSocketUpgradeHandler upgrades = new WebSocketUpgradeHandler(ServerWebSocketContainer.ensure(server));
        server.setHandler(upgrades);
        ServletContextHandler servlets = new ServletContextHandler("/");
        upgrades.setHandler(servlets);

        BayeuxServerImpl bayeux = new BayeuxServerImpl();
        bayeux.setOption(Context.class.getName(), server.getContext());
        bayeux.setOption("ws.cometdURLMapping", "/cometd");
        bayeux.setOption("ws.maxMessageSize", 16 * 1024 * 1024);
        bayeux.setOption("timeout", Long.parseLong(args[1]));
        bayeux.setOption("maxInterval", Long.parseLong(args[2]));
        bayeux.setTransports(
            new JettyWebSocketTransport(bayeux), new JSONHttpTransport(bayeux), new JSONPHttpTransport(bayeux));
        bayeux.setSecurityPolicy(new Policy());
        bayeux.addExtension(new AcknowledgedMessagesExtension());
        bayeux.addExtension(new TimesyncExtension());
        bayeux.addExtension(new TimestampExtension());
        bayeux.addExtension(new BinaryExtension());
        bayeux.addExtension(new ActivityExtension(ActivityExtension.Activity.CLIENT_SERVER, 600_000));

        servlets.setAttribute(BayeuxServer.ATTRIBUTE, bayeux);
        ServletHolder servlet = new ServletHolder(new CometDServlet());
        servlet.setAsyncSupported(true);
        servlet.setInitOrder(1);
        servlets.addServlet(servlet, "/cometd/*");
        server.addBean(bayeux);

        server.start();
        new Echo(bayeux);
        System.out.println("READY http://127.0.0.1:" + connector.getLocalPort() + "/cometd");
        System.out.flush();

        // Each line is a message to publish.
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            Map<?, ?> publish = (Map<?, ?>)new JSON().fromJSON(line);
            String name = (String)publish.get("channel");
            bayeux.createChannelIfAbsent(name).getReference().publish(null, publish.get("data"), Promise.noop());
        }
        server.stop();
        System.exit(0);
    }

    /** Refuses everything under {@code /denied/}, and handshakes that ask for it. */
    private static class Policy extends DefaultSecurityPolicy {
        @Override
        public boolean canHandshake(BayeuxServer server, ServerSession session, ServerMessage message) {
            Map<String, Object> ext = message.getExt();
            return ext == null || !"deny".equals(ext.get("interop"));
        }

        @Override
        public boolean canSubscribe(
            BayeuxServer server, ServerSession session, ServerChannel channel, ServerMessage message) {
            return !channel.getId().startsWith("/denied/") && super.canSubscribe(server, session, channel, message);
        }

        @Override
        public boolean canPublish(
            BayeuxServer server, ServerSession session, ServerChannel channel, ServerMessage message) {
            return !channel.getId().startsWith("/denied/") && super.canPublish(server, session, channel, message);
        }
    }

    /** Answers as a remote call does: same channel, same id, with data; or refuses. */
    public static class Echo extends AbstractService {
        public Echo(BayeuxServer bayeux) {
            super(bayeux, "echo");
            addService("/service/echo", "echo");
            addService("/service/fail", "fail");
            addService("/service/dismiss", "dismiss");
        }

        public void echo(ServerSession remote, ServerMessage message) {
            ServerMessage.Mutable reply = reply(message, true);
            reply.setData(message.getData());
            remote.deliver(getServerSession(), reply, Promise.noop());
        }

        public void fail(ServerSession remote, ServerMessage message) {
            ServerMessage.Mutable reply = reply(message, false);
            reply.put("error", "500:service:failed_as_asked");
            remote.deliver(getServerSession(), reply, Promise.noop());
        }

        public void dismiss(ServerSession remote, ServerMessage message) {
            remote.disconnect();
        }

        private ServerMessage.Mutable reply(ServerMessage message, boolean successful) {
            ServerMessage.Mutable reply = getBayeux().newMessage();
            reply.setChannel(message.getChannel());
            reply.setId(message.getId());
            reply.setSuccessful(successful);
            return reply;
        }
    }
}
