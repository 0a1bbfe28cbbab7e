// pgjdbc, the driver of the Java world: named statements after a few runs, portals with a fetch size,
// and savepoints. Prints `ok NAME` for each check that passed.

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Client {
    static final int LARGE = 8 * 1024 * 1024;
    static final int CONNECTIONS = 100;

    interface Check { void run() throws Exception; }
    interface Work { void run(int number) throws Exception; }

    static Connection connect(String... options) throws SQLException {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/app";
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", System.getenv("PGSSLMODE"));
        if (System.getenv("PGSSLROOTCERT") != null) properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        for (int i = 0; i < options.length; i += 2) properties.setProperty(options[i], options[i + 1]);
        return DriverManager.getConnection(url, properties);
    }

    static void equal(Object got, Object expected) {
        if (!Objects.equals(got, expected)) throw new AssertionError("got " + got + ", expected " + expected);
    }

    static Object value(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
            try (ResultSet rows = statement.executeQuery()) {
                if (!rows.next()) throw new AssertionError("no row from " + sql);
                return rows.getObject(1);
            }
        }
    }

    static void refused(String state, Check check) throws Exception {
        try {
            check.run();
        } catch (SQLException error) {
            equal(error.getSQLState(), state);
            return;
        }
        throw new AssertionError("expected SQLSTATE " + state + ", but it passed");
    }

    static void atOnce(int count, Work work) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        List<Future<?>> ends = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int number = i;
            ends.add(threads.submit(() -> { work.run(number); return null; }));
        }
        for (Future<?> end : ends) end.get(60, TimeUnit.SECONDS);
        threads.shutdown();
    }

    static void simple() throws Exception {
        try (Connection c = connect("preferQueryMode", "simple")) {
            equal(value(c, "select 6 * ?", 7), 42);
            try (Statement s = c.createStatement()) {
                equal(s.execute("select 1; select 'two'"), true);
                equal(s.getMoreResults(), true);
                s.getResultSet().next();
                equal(s.getResultSet().getString(1), "two");
            }
        }
    }

    static void parameters() throws Exception {
        try (Connection c = connect()) {
            equal(value(c, "select ?::int8", 1L << 40), 1L << 40);
            equal(value(c, "select ?::text", "naïve"), "naïve");
            equal(Arrays.equals((byte[]) value(c, "select ?::bytea", new byte[] {0, -1}), new byte[] {0, -1}), true);
            try (Statement s = c.createStatement()) { s.execute("create table many (n int, t text)"); }
            try (PreparedStatement s = c.prepareStatement("insert into many values (?, ?)")) {
                for (int n = 0; n < 1000; n++) {
                    s.setInt(1, n);
                    s.setString(2, "" + n);
                    s.addBatch();
                }
                equal(s.executeBatch().length, 1000);
            }
            equal(value(c, "select sum(n) from many where t = n::text"), 499_500L);
        }
    }

    static void prepared() throws Exception {
        atOnce(20, number -> {
            // From the first run on, as a named statement on the server.
            try (Connection c = connect("prepareThreshold", "1");
                    PreparedStatement add = c.prepareStatement("select ?::int + " + number);
                    PreparedStatement twice = c.prepareStatement("select ?::int * 2")) {
                for (int turn = 0; turn < 20; turn++) {
                    add.setInt(1, turn);
                    try (ResultSet rows = add.executeQuery()) { rows.next(); equal(rows.getInt(1), turn + number); }
                    c.setAutoCommit(false);
                    twice.setInt(1, turn);
                    try (ResultSet rows = twice.executeQuery()) { rows.next(); equal(rows.getInt(1), 2 * turn); }
                    c.commit();
                    c.setAutoCommit(true);
                }
            }
        });
    }

    static void portals() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            try (PreparedStatement s = c.prepareStatement("select n from generate_series(1, ?) n")) {
                s.setFetchSize(50);
                s.setInt(1, 500);
                int sum = 0;
                try (ResultSet rows = s.executeQuery()) { while (rows.next()) sum += rows.getInt(1); }
                equal(sum, 125_250);
            }
            c.commit();
        }
    }

    static void rollback() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.execute("create table rolled (n int)");
            c.setAutoCommit(false);
            s.execute("insert into rolled values (1)");
            Savepoint savepoint = c.setSavepoint();
            s.execute("insert into rolled values (2)");
            c.rollback(savepoint);
            equal(value(c, "select count(*) from rolled"), 1L);
            c.rollback();
            equal(value(c, "select count(*) from rolled"), 0L);
            s.execute("insert into rolled values (3)");
            c.commit();
            c.setAutoCommit(true);
            equal(value(c, "select n from rolled"), 3);
        }
    }

    static void errorThenReuse() throws Exception {
        try (Connection c = connect()) {
            for (int i = 0; i < 3; i++) {
                refused("22012", () -> value(c, "select 1 / ?::int", 0));
                equal(value(c, "select ?::int", 5), 5);
            }
            c.setAutoCommit(false);
            refused("42703", () -> value(c, "select no_such_column"));
            refused("25P02", () -> value(c, "select 1"));
            c.rollback();
            equal(value(c, "select 6"), 6);
            c.commit();
        }
    }

    static void copyIn() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.execute("create table copied (n int, t text)");
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int n = 0; n < 10_000; n++) lines.append(n).append("\trow ").append(n).append('\n');
            equal(copy.copyIn("copy copied from stdin", new StringReader(lines.toString())), 10_000L);
            refused("22P02", () -> copy.copyIn("copy copied from stdin", new StringReader("x\ty\n")));
            equal(value(c, "select sum(n) from copied"), 49_995_000L);
        }
    }

    static void copyOut() throws Exception {
        try (Connection c = connect()) {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            equal(c.unwrap(PGConnection.class).getCopyAPI().copyOut("copy (select generate_series(1, 5000)) to stdout", out), 5_000L);
            StringBuilder expected = new StringBuilder();
            for (int n = 1; n <= 5_000; n++) expected.append(n).append('\n');
            equal(out.toString(StandardCharsets.UTF_8), expected.toString());
        }
    }

    static void cancel() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            long started = System.nanoTime();
            Thread canceller = new Thread(() -> {
                String running = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(30)'";
                try (Connection other = connect()) {
                    while (value(other, running).equals(0L)) Thread.sleep(10);
                    s.cancel();
                } catch (SQLException | InterruptedException error) {
                    error.printStackTrace();
                }
            });
            canceller.start();
            refused("57014", () -> s.execute("select pg_sleep(30)"));
            canceller.join();
            equal(System.nanoTime() - started < 10_000_000_000L, true);
            equal(value(c, "select 7"), 7);
        }
    }

    static void largeRow() throws Exception {
        try (Connection c = connect()) {
            String text = "x".repeat(LARGE);
            if (!text.equals(value(c, "select ?::text", text))) throw new AssertionError("an 8 MiB text changed on its way");
            byte[] blob = new byte[LARGE];
            for (int i = 0; i < LARGE; i++) blob[i] = (byte) i;
            if (!Arrays.equals(blob, (byte[]) value(c, "select ?::bytea", blob))) throw new AssertionError("8 MiB of bytea changed on their way");
        }
    }

    static void hundredConnections() throws Exception {
        CyclicBarrier barrier = new CyclicBarrier(CONNECTIONS);
        atOnce(CONNECTIONS, number -> {
            try (Connection c = connect()) {
                barrier.await(60, TimeUnit.SECONDS);
                c.setAutoCommit(false);
                equal(value(c, "select ?::int", number), number);
                equal(value(c, "select ?::text from pg_sleep(0.01)", "" + number), "" + number);
                c.commit();
            }
        });
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("simple", Client::simple);
        checks.put("parameters", Client::parameters);
        checks.put("prepared", Client::prepared);
        checks.put("rollback", Client::rollback);
        checks.put("error_then_reuse", Client::errorThenReuse);
        checks.put("copy_in", Client::copyIn);
        checks.put("copy_out", Client::copyOut);
        checks.put("cancel", Client::cancel);
        checks.put("large_row", Client::largeRow);
        checks.put("hundred_connections", Client::hundredConnections);
        checks.put("portals", Client::portals);
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            long started = System.nanoTime();
            check.getValue().run();
            System.out.println("ok " + check.getKey() + " " + (System.nanoTime() - started) / 1_000_000 + " ms");
        }
        System.exit(0);
    }
}
