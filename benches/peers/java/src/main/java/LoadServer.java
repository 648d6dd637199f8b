import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.server.BayeuxServerImpl;
import org.cometd.server.JacksonJSONContextServer;
import org.cometd.server.ext.AcknowledgedMessagesExtension;
import org.cometd.server.http.JSONHttpTransport;
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
 * CometD's Java server, with its faster JSON and the options of CometD's load test. Prints its URL, and ends when its
 * standard input does.
 */
public class LoadServer {
    public static void main(String[] args) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        connector.setPort(0);
        connector.setAcceptQueueSize(2048);
        connector.setIdleTimeout(70_000);
        server.addConnector(connector);

        WebSocketUpgradeHandler upgrades = new WebSocketUpgradeHandler(ServerWebSocketContainer.ensure(server));
        server.setHandler(upgrades);

        BayeuxServerImpl bayeux = new BayeuxServerImpl();
        bayeux.setOption(Context.class.getName(), server.getContext());
        bayeux.setOption("ws.cometdURLMapping", "/cometd");
        bayeux.setOption("timeout", 20_000);
        bayeux.setOption("maxInterval", 50_000);
        bayeux.setOption("jsonContext", new JacksonJSONContextServer());
        bayeux.setTransports(new JettyWebSocketTransport(bayeux), new JSONHttpTransport(bayeux));
        bayeux.addExtension(new AcknowledgedMessagesExtension());

        ServletContextHandler servlets = new ServletContextHandler("/");
        upgrades.setHandler(servlets);
        servlets.setAttribute(BayeuxServer.ATTRIBUTE, bayeux);
        ServletHolder servlet = new ServletHolder(new CometDServlet());
        servlet.setAsyncSupported(true);
        servlet.setInitOrder(1);
        servlets.addServlet(servlet, "/cometd/*");
        server.addBean(bayeux);

        server.start();
        System.out.println("http://127.0.0.1:" + connector.getLocalPort() + "/cometd");
        System.out.flush();
        System.in.transferTo(java.io.OutputStream.nullOutputStream());
        server.stop();
        System.exit(0);
    }
}
