// HikariCP in front of the pooler, through restarts of PostgreSQL. The test stops and starts it; both sides signal by
// files in $SIGNALS. Prints `ok NAME` for each check that passed.

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.nio.file.*;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicInteger;
import org.postgresql.ds.PGSimpleDataSource;

public class HikariPool {
    static final int SIZE = 8;
    static final Path SIGNALS = Paths.get(System.getenv("SIGNALS"));
    static final AtomicInteger opened = new AtomicInteger();

    /** pgjdbc's own source of connections, counting. */
    static class Counting extends PGSimpleDataSource {
        @Override
        public Connection getConnection(String user, String password) throws SQLException {
            opened.incrementAndGet();
            return super.getConnection(user, password);
        }
    }

    static void signal(String name) throws Exception { Files.createFile(SIGNALS.resolve(name)); }

    static void await(String name) throws Exception {
        while (!Files.exists(SIGNALS.resolve(name))) Thread.sleep(10);
    }

    static void equal(Object got, Object expected, String what) {
        if (!Objects.equals(got, expected)) throw new AssertionError(what + ": got " + got + ", expected " + expected);
    }

    static int one(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("select 1")) {
            rows.next();
            return rows.getInt(1);
        }
    }

    /** Borrows all connections at once. */
    static void fill(HikariDataSource pool) throws Exception {
        List<Connection> held = new ArrayList<>();
        for (int i = 0; i < SIZE; i++) {
            held.add(pool.getConnection());
            equal(one(held.get(i)), 1, "answer");
        }
        for (Connection connection : held) connection.close();
    }

    /** One request per connection, at once: the SQLSTATEs of those that failed. */
    static List<String> askAll(HikariDataSource pool, String asking) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(SIZE);
        List<Future<String>> answers = new ArrayList<>();
        for (int i = 0; i < SIZE; i++)
            answers.add(threads.submit(() -> {
                try (Connection connection = pool.getConnection()) {
                    equal(one(connection), 1, "answer");
                    return null;
                } catch (SQLException error) {
                    return error.getSQLState() == null ? error.toString() : error.getSQLState();
                }
            }));
        signal(asking);
        List<String> failed = new ArrayList<>();
        for (Future<String> answer : answers) if (answer.get() != null) failed.add(answer.get());
        threads.shutdown();
        return failed;
    }

    public static void main(String[] arguments) throws Exception {
        // What is judged here is which errors make the pool throw a connection away, so it does not validate idle ones.
        System.setProperty("com.zaxxer.hikari.aliveBypassWindowMs", "600000");
        Counting source = new Counting();
        source.setServerNames(new String[] {System.getenv("PGHOST")});
        source.setPortNumbers(new int[] {Integer.parseInt(System.getenv("PGPORT"))});
        source.setDatabaseName("app");
        source.setUser(System.getenv("PGUSER"));
        source.setPassword(System.getenv("PGPASSWORD"));
        source.setSslmode(System.getenv().getOrDefault("PGSSLMODE", "disable"));
        HikariConfig config = new HikariConfig();
        config.setDataSource(source);
        config.setUsername(System.getenv("PGUSER"));
        config.setPassword(System.getenv("PGPASSWORD"));
        config.setMaximumPoolSize(SIZE);
        config.setMinimumIdle(SIZE);
        config.setConnectionTimeout(60_000);
        try (HikariDataSource pool = new HikariDataSource(config)) {
            fill(pool);
            int filled = opened.get();
            System.out.println("ok fills");

            signal("filled");
            await("stopped");
            equal(askAll(pool, "asking"), List.of(), "requests that waited through a short restart and failed");
            equal(opened.get(), filled, "connections opened by the pool after a short restart");
            System.out.println("ok waits_through_a_restart");

            signal("served");
            await("stopped_again");
            equal(askAll(pool, "asking_again"), Collections.nCopies(SIZE, "58000"), "SQLSTATEs while PostgreSQL is away");
            signal("refused");
            await("started");
            fill(pool);
            equal(opened.get(), filled, "connections opened by the pool after a long absence");
            System.out.println("ok keeps_its_connections");
        }
    }
}
