import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;

import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs mqadmin commands one after the other in one machine: each line of input
 * is a command, its arguments apart by tabs. A line with the letter EOT alone
 * follows what a command printed.
 */
public class Session {
    public static void main(String[] ignored) throws Exception {
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        System.setOut(out);
        System.setErr(out);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = in.readLine()) != null; ) {
            MQAdminStartup.main0(line.split("\t"), null);
            out.print("\n\u0004\n");
            out.flush();
        }
        System.exit(0);
    }
}
