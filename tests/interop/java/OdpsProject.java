// The official MaxCompute SDK for Java against a project: everything that it writes must come back, cell by cell; or what
// somebody else wrote, as it reads it.
//
//   java ... OdpsProject.java ENDPOINT PROJECT ACCESS_ID ACCESS_KEY
//       writes and reads; one line a check, the last one is ALL OK
//   java ... OdpsProject.java ENDPOINT PROJECT ACCESS_ID ACCESS_KEY SCHEMA TABLE...
//       prints every row as a JSON line {table, partition: {column: text}, cells: {column: cell}}
//
// A cell is the same for whatever carried it: NULL, or the text of its value without anything that a library may format in its
// own way. See `cell`.

import com.aliyun.odps.Column;
import com.aliyun.odps.Odps;
import com.aliyun.odps.OdpsException;
import com.aliyun.odps.Partition;
import com.aliyun.odps.PartitionSpec;
import com.aliyun.odps.Table;
import com.aliyun.odps.TableSchema;
import com.aliyun.odps.account.AliyunAccount;
import com.aliyun.odps.data.*;
import com.aliyun.odps.data.Record; // not Java's own
import com.aliyun.odps.table.record.ColumnarBatchRecord;
import com.aliyun.odps.table.record.constructor.RecordToArrowConverter;
import com.aliyun.odps.table.utils.ArrowUtils;
import com.aliyun.odps.options.CreateInstanceOption;
import com.aliyun.odps.task.SQLTask;
import com.aliyun.odps.tunnel.TableTunnel;
import com.aliyun.odps.tunnel.TableTunnel.DownloadSession;
import com.aliyun.odps.tunnel.TableTunnel.UploadSession;
import com.aliyun.odps.tunnel.TunnelException;
import com.aliyun.odps.tunnel.io.CompressOption;
import com.aliyun.odps.tunnel.io.CompressOption.CompressAlgorithm;
import com.aliyun.odps.type.ArrayTypeInfo;
import com.aliyun.odps.type.StructTypeInfo;
import com.aliyun.odps.type.TypeInfo;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.*;
import java.time.temporal.ChronoUnit;
import java.util.*;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.arrow.vector.DateMilliVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.TimeStampMilliVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.message.ArrowFieldNode;

public class OdpsProject {
    static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();
    static final String SCHEMA = "java_interop";
    static final String DDL = "c_tinyint tinyint, c_smallint smallint, c_int int, c_bigint bigint not null comment 'the \\'key\\'', "
        + "c_float float, c_double double, c_boolean boolean, c_decimal decimal(38,18), c_dec10 decimal(10,2), c_string string, "
        + "c_varchar varchar(10), c_char char(5), c_binary binary, c_date date, c_datetime datetime, c_timestamp timestamp, "
        + "c_ntz timestamp_ntz, c_json json, c_array array<bigint>, c_map map<string,bigint>, c_struct struct<x:bigint,y:string>, "
        + "c_nested array<struct<k:string,v:map<string,array<decimal(10,2)>>>>, c_times array<timestamp>";
    // Characters that a URL, a form or a partition spec could take for something else.
    static final List<String> VALUES = List.of("a+b", "a&b", "a%b", "%2B", "100%25", "a b", "a  +&% b", "x:y_$#.!@", "20240101",
        "~[]{}();<>?*^|`-", "__HIVE_DEFAULT_PARTITION__");

    final Odps odps;
    final String project;
    final TableTunnel tunnel;

    OdpsProject(String[] at, String region) {
        odps = new Odps(region == null ? new AliyunAccount(at[2], at[3]) : new AliyunAccount(at[2], at[3], region));
        odps.setEndpoint(at[0]);
        project = at[1];
        odps.setDefaultProject(project);
        tunnel = new TableTunnel(odps);
    }

    public static void main(String[] args) throws Exception {
        OdpsProject v2 = new OdpsProject(args, null);
        if (args.length > 4) {
            for (String table : Arrays.copyOfRange(args, 5, args.length)) {
                v2.dump(args[4], table);
            }
            return;
        }
        OdpsProject v4 = new OdpsProject(args, "cn-hangzhou");
        v2.sql("CREATE SCHEMA IF NOT EXISTS " + SCHEMA);
        v2.answersAtOnce();
        v2.everyType();
        v2.partitions("signed_v2");
        v4.partitions("signed_v4");
        String[] wrong = args.clone();
        wrong[3] += "x";
        refused("a wrong key, V2", "Unauthorized", () -> new OdpsProject(wrong, null).odps.projects().get().reload());
        refused("a wrong key, V4", "Unauthorized", () -> new OdpsProject(wrong, "cn-hangzhou").odps.projects().get().reload());
        System.out.println("ALL OK");
    }

    // ---------------------------------------------------------------------------------------------------------------- cells

    /** NULL, a text, or a list of cells: a struct is the list of its fields, a map the list of its pairs in the order of keys. */
    static Object cell(Object value) {
        if (value == null) {
            return null;
        } else if (value instanceof Float f) {
            return HexFormat.of().toHexDigits(Float.floatToIntBits(f));
        } else if (value instanceof Double d) {
            return HexFormat.of().toHexDigits(Double.doubleToLongBits(d));
        } else if (value instanceof BigDecimal d) {
            return d.signum() == 0 ? "0" : d.stripTrailingZeros().toPlainString();
        } else if (value instanceof byte[] text) {
            return new String(text, StandardCharsets.UTF_8);
        } else if (value instanceof Binary b) {
            return HexFormat.of().formatHex(b.data());
        } else if (value instanceof AbstractChar c) {
            return c.getValue();
        } else if (value instanceof LocalDate d) {
            return Long.toString(d.toEpochDay());
        } else if (value instanceof ZonedDateTime t) {
            return Long.toString(t.toInstant().toEpochMilli());
        } else if (value instanceof Instant t) {
            return nanos(t);
        } else if (value instanceof LocalDateTime t) {
            return nanos(t.toInstant(ZoneOffset.UTC));
        } else if (value instanceof Struct s) {
            return cells(s.getFieldValues());
        } else if (value instanceof Map<?, ?> m) {
            List<Object> pairs = m.entrySet().stream().map(e -> (Object) cells(Arrays.asList(e.getKey(), e.getValue())))
                .collect(Collectors.toList());
            pairs.sort(Comparator.comparing(GSON::toJson));
            return pairs;
        } else if (value instanceof List<?> l) {
            return cells(l);
        } else if (value instanceof String || value instanceof Boolean || value instanceof Number || value instanceof JsonValue) {
            return value.toString();
        }
        throw new IllegalArgumentException("a value of " + value.getClass());
    }

    /** Nanoseconds since 1970. */
    static String nanos(Instant t) {
        BigInteger seconds = BigInteger.valueOf(t.getEpochSecond()).multiply(BigInteger.valueOf(1_000_000_000));
        return seconds.add(BigInteger.valueOf(t.getNano())).toString();
    }

    static List<Object> cells(Collection<?> values) {
        return values.stream().map(OdpsProject::cell).collect(Collectors.toCollection(ArrayList::new));
    }

    static String line(Object[] row) {
        return GSON.toJson(cells(Arrays.asList(row)));
    }

    // --------------------------------------------------------------------------------------------------------------- checks

    static void same(String what, List<String> found, List<String> wanted) {
        List<String> got = found.stream().sorted().toList();
        List<String> want = wanted.stream().sorted().toList();
        for (int i = 0; i < Math.min(got.size(), want.size()); i++) {
            if (!got.get(i).equals(want.get(i))) {
                throw new AssertionError(what + "\n got  " + got.get(i) + "\n want " + want.get(i));
            }
        }
        if (got.size() != want.size()) {
            throw new AssertionError(what + ": " + got.size() + " rows, wanted " + want.size());
        }
        System.out.println("ok " + what);
    }

    interface Call {
        void run() throws Exception;
    }

    static void refused(String what, String code, Call call) throws Exception {
        try {
            call.run();
        } catch (OdpsException error) {
            same(what + " is refused", List.of(String.valueOf(error.getErrorCode())), List.of(code));
            return;
        }
        throw new AssertionError(what + ": nothing was refused");
    }

    List<Record> sql(String statement) throws OdpsException {
        Map<String, String> hints = new HashMap<>(Map.of("odps.sql.type.system.odps2", "true", "odps.sql.decimal.odps2", "true",
            "odps.namespace.schema", "true", "odps.sql.allow.fullscan", "true"));
        var instance = SQLTask.run(odps, project, statement + ";", hints, null);
        instance.waitForSuccess();
        return statement.startsWith("SELECT") ? SQLTask.getResult(instance) : List.of();
    }

    /** A statement that has ended by the time of the answer to its submission: the SDK reads state and result from that answer. */
    void answersAtOnce() throws OdpsException {
        var option = new CreateInstanceOption.Builder().setProjectName(project).setTryWait(true).build();
        for (var statement : List.of("SELECT 1 AS one;", "SELECT nothing FROM " + SCHEMA + ".not_there;")) {
            var task = new SQLTask();
            task.setName("AnonymousSQLTask");
            task.setQuery(statement);
            task.setProperty("settings", "{\"odps.namespace.schema\":\"true\"}");
            var instance = odps.instances().create(task, option);
            boolean good = statement.contains("one");
            same("the answer tells the end of " + statement, List.of(instance.isSync() + " " + instance.isSuccessful()), List.of("true " + good));
            String result = instance.getTaskResults().get("AnonymousSQLTask");
            if (!result.contains(good ? "1" : "ODPS-0130131")) {
                throw new AssertionError(statement + ": " + result);
            }
        }
    }

    static CompressOption option(CompressAlgorithm algorithm) {
        return new CompressOption(algorithm, 1, 0);
    }

    // ----------------------------------------------------------------------------------------------------------- every type

    /** Ordinary values, extremes, and NULLs; `wide` with the years that only records carry. */
    static List<Object[]> rows(TableSchema schema, boolean wide) {
        StructTypeInfo pair = (StructTypeInfo) schema.getColumn("c_struct").getTypeInfo();
        StructTypeInfo item = (StructTypeInfo) ((ArrayTypeInfo) schema.getColumn("c_nested").getTypeInfo()).getElementTypeInfo();
        Instant stamp = Instant.parse("2024-02-29T12:34:56.789012345Z");
        Instant before = Instant.parse("1969-12-31T23:59:59.5Z");
        Instant first = Instant.parse(wide ? "0001-01-01T00:00:00.000000001Z" : "1677-09-22T00:00:00Z");
        Instant last = Instant.parse(wide ? "9999-12-31T23:59:59.999999999Z" : "2262-04-11T23:47:16.854775807Z");
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("k1", 1L);
        map.put("k2", null);
        Map<String, Object> deep = new LinkedHashMap<>();
        deep.put("m", Arrays.asList(new BigDecimal("1.10"), null));
        deep.put("", null);
        return List.of(
            new Object[] {(byte) 1, (short) 2, 3, 4L, 1.5f, 2.5, true, new BigDecimal("1.5"), new BigDecimal("12345678.90"), "abc",
                new Varchar("varchar"), new Char("ab"), new Binary(new byte[] {0, -1}), LocalDate.of(2024, 2, 29),
                stamp.truncatedTo(ChronoUnit.MILLIS).atZone(ZoneOffset.UTC), stamp, local(stamp),
                new SimpleJsonValue("{\"a\":[1,null]}"), Arrays.asList(1L, null, -3L), map, struct(pair, 1L, "s"),
                Arrays.asList(struct(item, "a", deep), null), Arrays.asList(stamp, null)},
            new Object[] {Byte.MIN_VALUE, Short.MIN_VALUE, Integer.MIN_VALUE, Long.MIN_VALUE + 1, Float.MAX_VALUE, -1e-300, false,
                new BigDecimal("-99999999999999999999.999999999999999999"), new BigDecimal("-1"), "中文🙂\t\n\0", new Varchar(""),
                new Char("abcde"), new Binary(new byte[0]), LocalDate.of(1, 1, 1), before.atZone(ZoneOffset.UTC), first,
                local(first), new SimpleJsonValue("[]"), List.of(), Map.of(), struct(pair, null, ""), List.of(), List.of(before)},
            new Object[] {Byte.MAX_VALUE, Short.MAX_VALUE, Integer.MAX_VALUE, Long.MAX_VALUE, Float.POSITIVE_INFINITY,
                Double.NEGATIVE_INFINITY, true, new BigDecimal("0.000000000000000001"), new BigDecimal("0.00"), "",
                new Varchar("0123456789"), new Char(""), new Binary(new byte[70_000]), LocalDate.of(9999, 12, 31),
                ZonedDateTime.of(9999, 12, 31, 23, 59, 59, 999_000_000, ZoneOffset.UTC), last, local(last),
                new SimpleJsonValue("\"中文\""), List.of(Long.MAX_VALUE), Map.of("", 0L), null,
                Arrays.asList((Object) null), List.of(first, last)},
            new Object[] {null, null, null, 0L, Float.NaN, -0.0, null, null, null, null, null, null, null, null, null, before,
                local(before), null, null, null, struct(pair, null, null), null, null},
            onlyKey(schema));
    }

    static Object[] onlyKey(TableSchema schema) {
        Object[] row = new Object[schema.getColumns().size()];
        row[3] = 1L;
        return row;
    }

    static LocalDateTime local(Instant t) {
        return LocalDateTime.ofInstant(t, ZoneOffset.UTC);
    }

    static Struct struct(TypeInfo type, Object... values) {
        return new SimpleStruct((StructTypeInfo) type, Arrays.asList(values));
    }

    void everyType() throws Exception {
        sql("DROP TABLE IF EXISTS " + SCHEMA + ".plain");
        sql("CREATE TABLE " + SCHEMA + ".plain (" + DDL + ") COMMENT 'a \\'quoted\\' comment' LIFECYCLE 7");
        Table table = odps.tables().get(project, SCHEMA, "plain");
        TableSchema schema = table.getSchema();
        Column key = schema.getColumn("c_bigint");
        same("the table as it was made", List.of(table.getComment() + table.getLife() + key.getComment() + key.isNullable()),
            List.of("a 'quoted' comment7the 'key'false"));

        List<Object[]> wide = rows(schema, true);
        List<String> want = wide.stream().map(OdpsProject::line).toList();
        UploadSession upload = tunnel.createUploadSession(project, SCHEMA, "plain", true);
        write(upload, upload.openRecordWriter(0), wide);
        same("blocks", List.of(Arrays.toString(upload.getBlockList())), List.of("[0]"));
        upload.commit(new Long[] {0L});
        same("records of all years", records(null, "plain", null), want);
        upload = tunnel.createUploadSession(project, SCHEMA, "plain", false);
        write(upload, upload.openBufferedWriter(), wide);
        upload.commit();
        same("appended by a buffered writer", records(null, "plain", null), repeated(want, 2));

        // One block by each way that the SDK offers.
        List<Object[]> rows = rows(schema, false);
        upload = tunnel.createUploadSession(project, SCHEMA, "plain", true);
        long block = 0;
        for (CompressAlgorithm algorithm : CompressAlgorithm.values()) {
            boolean arrow = algorithm.name().startsWith("ODPS_ARROW");
            if (!arrow) {
                write(upload, upload.openRecordWriter(block++, option(algorithm)), rows);
            }
            if (arrowTakes(algorithm)) {
                writeArrow(upload.openArrowRecordWriter(block++, option(algorithm)), schema, rows);
            }
        }
        same("blocks", List.of(Integer.toString(upload.getBlockList().length)), List.of("9"));
        upload.commit();
        want = repeated(rows.stream().map(OdpsProject::line).toList(), 9);
        for (CompressAlgorithm algorithm : CompressAlgorithm.values()) {
            if (!algorithm.name().startsWith("ODPS_ARROW")) {
                same(algorithm + " records", records(option(algorithm), "plain", null), want);
            }
            if (arrowTakes(algorithm)) {
                same(algorithm + " Arrow", arrow(option(algorithm), "plain"), want);
            }
        }
        same("rows counted", List.of(sql("SELECT COUNT(*) FROM " + SCHEMA + ".plain").get(0).getString(0)), List.of("45"));
    }

    /** The SDK has no Arrow upload with any other. */
    static boolean arrowTakes(CompressAlgorithm algorithm) {
        return switch (algorithm) {
            case ODPS_RAW, ODPS_ZLIB, ODPS_SNAPPY, ODPS_ARROW_LZ4_FRAME -> true;
            default -> false;
        };
    }

    static List<String> repeated(List<String> rows, int times) {
        return Stream.generate(() -> rows).limit(times).flatMap(List::stream).toList();
    }

    static void write(UploadSession upload, RecordWriter writer, List<Object[]> rows) throws Exception {
        for (Object[] row : rows) {
            Record record = upload.newRecord();
            record.set(row);
            writer.write(record);
        }
        writer.close();
    }

    static void writeArrow(ArrowRecordWriter writer, TableSchema schema, List<Object[]> rows) throws Exception {
        var allocator = ArrowUtils.getDefaultRootAllocator();
        var batch = RecordToArrowConverter.createRecordArrowBatchConstructor(schema.getColumns(), allocator);
        for (Object[] row : rows) {
            ArrayRecord record = new ArrayRecord(schema);
            record.set(row);
            batch.write(record);
        }
        batch.finish();
        writer.write(batch.getVectorSchemaRoot());
        writer.close();
        batch.getVectorSchemaRoot().close();
    }

    // --------------------------------------------------------------------------------------------------------------- reading

    DownloadSession download(String schema, String table, PartitionSpec partition) throws TunnelException {
        return partition == null ? tunnel.createDownloadSession(project, schema, table, false)
            : tunnel.createDownloadSession(project, schema, table, partition, false);
    }

    static List<Object[]> read(DownloadSession session, CompressOption option) throws Exception {
        List<Object[]> rows = new ArrayList<>();
        if (session.getRecordCount() == 0) {
            return rows;
        }
        try (RecordReader reader = session.openRecordReader(0, session.getRecordCount(), option)) {
            for (Record record; (record = reader.read()) != null;) {
                rows.add(record.toArray().clone());
            }
        }
        return rows;
    }

    List<String> records(CompressOption option, String table, PartitionSpec partition) throws Exception {
        CompressOption way = option == null ? option(CompressAlgorithm.ODPS_RAW) : option;
        return read(download(SCHEMA, table, partition), way).stream().map(OdpsProject::line).toList();
    }

    List<String> arrow(CompressOption option, String table) throws Exception {
        DownloadSession session = download(SCHEMA, table, null);
        Column[] columns = session.getSchema().getColumns().toArray(Column[]::new);
        List<String> rows = new ArrayList<>();
        try (ArrowRecordReader reader = session.openArrowRecordReader(0, session.getRecordCount(), option)) {
            for (VectorSchemaRoot batch; (batch = reader.read()) != null;) {
                ColumnarBatchRecord record = new ColumnarBatchRecord(readable(batch), columns);
                for (int row = 0; row < batch.getRowCount(); row++) {
                    record.setRowId(row);
                    rows.add(line(IntStream.range(0, columns.length).mapToObj(record::get).toArray()));
                }
            }
        }
        return rows;
    }

    /** The tunnel has DATETIME as Arrow's Date(ms), the SDK's own converter takes only Timestamp(ms): the same 64 bits. */
    static VectorSchemaRoot readable(VectorSchemaRoot batch) {
        return new VectorSchemaRoot(batch.getFieldVectors().stream().map(vector -> {
            if (!(vector instanceof DateMilliVector)) {
                return vector;
            }
            var same = new TimeStampMilliVector(vector.getName(), vector.getAllocator());
            same.loadFieldBuffers(new ArrowFieldNode(vector.getValueCount(), vector.getNullCount()), vector.getFieldBuffers());
            return (FieldVector) same;
        }).toList());
    }

    void dump(String schema, String name) throws Exception {
        Table table = odps.tables().get(project, schema, name);
        List<PartitionSpec> partitions = table.isPartitioned()
            ? table.getPartitions().stream().map(Partition::getPartitionSpec).toList() : Arrays.asList((PartitionSpec) null);
        for (PartitionSpec partition : partitions) {
            DownloadSession session = download(schema, name, partition);
            List<Column> columns = session.getSchema().getColumns();
            for (Object[] row : read(session, option(CompressAlgorithm.ODPS_RAW))) {
                Map<String, Object> cells = new LinkedHashMap<>();
                for (int i = 0; i < columns.size(); i++) {
                    cells.put(columns.get(i).getName(), cell(row[i]));
                }
                Map<String, Object> out = new LinkedHashMap<>();
                out.put("table", name);
                out.put("partition", partition == null ? Map.of()
                    : partition.keys().stream().collect(Collectors.toMap(k -> k, partition::get)));
                out.put("cells", cells);
                System.out.println(GSON.toJson(out));
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------------ partitions

    static PartitionSpec partition(String value, long level) {
        PartitionSpec spec = new PartitionSpec();
        spec.set("p", value);
        spec.set("n", Long.toString(level));
        return spec;
    }

    void partitions(String name) throws Exception {
        sql("DROP TABLE IF EXISTS " + SCHEMA + "." + name);
        sql("CREATE TABLE " + SCHEMA + "." + name + " (id bigint, s string) PARTITIONED BY (p string, n bigint)");
        Table table = odps.tables().get(project, SCHEMA, name);
        for (int i = 0; i < VALUES.size(); i++) {
            table.createPartition(partition(VALUES.get(i), i), true);
        }
        List<String> want = new ArrayList<>();
        for (int i = 0; i < VALUES.size(); i++) {
            PartitionSpec spec = partition(VALUES.get(i), i);
            want.add(spec.toString());
            UploadSession upload = tunnel.createUploadSession(project, SCHEMA, name, spec, true);
            write(upload, upload.openRecordWriter(0), List.<Object[]>of(new Object[] {(long) i, VALUES.get(i)}));
            upload.commit(new Long[] {0L});
            if (!table.hasPartition(spec)) {
                throw new AssertionError(name + ": there is no partition " + spec);
            }
        }
        same(name + ": partitions", table.getPartitions().stream().map(p -> p.getPartitionSpec().toString()).toList(), want);
        same(name + ": names of partitions", table.getPartitionSpecs().stream().map(PartitionSpec::toString).toList(), want);
        for (int i = 0; i < VALUES.size(); i++) {
            List<String> rows = records(null, name, partition(VALUES.get(i), i));
            same(name + ": the rows of " + VALUES.get(i), rows, List.of(line(new Object[] {(long) i, VALUES.get(i)})));
        }
        var sums = sql("SELECT p, COUNT(*) AS c FROM " + SCHEMA + "." + name + " GROUP BY p");
        var found = new TreeSet<>(sums.stream().map(row -> row.getString(0) + " " + row.getString(1)).toList());
        same(name + ": SQL reads the values", List.copyOf(found), VALUES.stream().map(value -> value + " 1").toList());
        refused("a missing partition", "NoSuchPartition",
            () -> tunnel.createUploadSession(project, SCHEMA, name, partition("missing", 0), true));
        refused("a missing table", "NoSuchTable", () -> tunnel.createUploadSession(project, SCHEMA, "missing", true));
        refused("a session that is not there", "NoSuchUpload", () -> tunnel.getUploadSession(project, SCHEMA, name,
            partition(VALUES.get(0), 0), "missing"));
        if (odps.tables().exists(project, SCHEMA, "missing") || odps.schemas().exists(project, "missing")) {
            throw new AssertionError("what is missing exists");
        }
    }
}
