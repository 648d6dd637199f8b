import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentSkipListMap;

import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.bayeux.server.ServerChannel;
import org.cometd.bayeux.server.ServerMessage;
import org.cometd.bayeux.server.ServerSession;
import org.cometd.server.AbstractService;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.DefaultSecurityPolicy;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.ext.BinaryExtension;
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
import org.eclipse.jetty.websocket.server.ServerWebSocketContainer;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/**
 * A CometD server with the services that the scenarios use. Prints {@code READY URL}, and ends when its standard
 * input does, so that it cannot outlive whoever started it.
 */
public class CometdPeer {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 0;

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
        bayeux.setOption("timeout", 20_000);
        bayeux.setTransports(
            new JettyWebSocketTransport(bayeux), new JSONHttpTransport(bayeux), new JSONPHttpTransport(bayeux));
        bayeux.setSecurityPolicy(new Policy());
        bayeux.addExtension(new AcknowledgedMessagesExtension());
        bayeux.addExtension(new TimesyncExtension());
        bayeux.addExtension(new BinaryExtension());

        servlets.setAttribute(BayeuxServer.ATTRIBUTE, bayeux);
        ServletHolder servlet = new ServletHolder(new CometDServlet());
        servlet.setAsyncSupported(true);
        servlet.setInitOrder(1);
        servlets.addServlet(servlet, "/cometd/*");
        server.addBean(bayeux);

        server.start();
        new Echo(bayeux);
        new Members(bayeux);
        System.out.println("READY http://127.0.0.1:" + connector.getLocalPort() + "/cometd");
        System.out.flush();

        while (System.in.read() >= 0) {
            // Nothing is asked of it this way.
        }
        server.stop();
        System.exit(0);
    }

    /** Refuses everything under {@code /denied/}. */
    private static class Policy extends DefaultSecurityPolicy {
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

        private ServerMessage.Mutable reply(ServerMessage message, boolean successful) {
            ServerMessage.Mutable reply = getBayeux().newMessage();
            reply.setChannel(message.getChannel());
            reply.setId(message.getId());
            reply.setSuccessful(successful);
            return reply;
        }
    }

    /** The members of chat rooms: who joins is told to all of the room, and so is who goes. */
    public static class Members extends AbstractService {
        private final Map<String, Map<String, String>> rooms = new ConcurrentHashMap<>();

        public Members(BayeuxServer bayeux) {
            super(bayeux, "members");
            addService("/service/members", "join");
        }

        public void join(ServerSession remote, ServerMessage message) {
            Map<String, Object> data = message.getDataAsMap();
            String user = (String)data.get("user");
            String room = ((String)data.get("room")).substring("/chat/".length());
            Map<String, String> members = rooms.computeIfAbsent(room, name -> new ConcurrentSkipListMap<>());
            members.put(user, remote.getId());
            remote.addListener((ServerSession.RemovedListener)(session, reason, timeout) -> {
                members.remove(user, session.getId());
                tell(room, members);
            });
            tell(room, members);
        }

        private void tell(String room, Map<String, String> members) {
            List<String> names = new ArrayList<>(members.keySet());
            ServerChannel channel = getBayeux().createChannelIfAbsent("/members/" + room).getReference();
            channel.publish(getServerSession(), names, Promise.noop());
        }
    }
}
