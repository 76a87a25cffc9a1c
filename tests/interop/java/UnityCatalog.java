// The client of the open Unity Catalog against a workspace: logged in as an OAuth client by its own code, it lists page by page and
// has credentials vended.
//
//   java ... UnityCatalog.java URL CLIENT_ID CLIENT_SECRET CATALOG
//       one JSON line a table {table, id, type, format, location, columns: [[name, type_name, type_text, partition_index]],
//       vended: what came of asking}, then {"pages": how often each list was asked for}

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import io.unitycatalog.client.ApiClient;
import io.unitycatalog.client.ApiClientBuilder;
import io.unitycatalog.client.ApiException;
import io.unitycatalog.client.api.CatalogsApi;
import io.unitycatalog.client.api.SchemasApi;
import io.unitycatalog.client.api.TablesApi;
import io.unitycatalog.client.api.TemporaryCredentialsApi;
import io.unitycatalog.client.auth.TokenProvider;
import io.unitycatalog.client.model.GenerateTemporaryTableCredential;
import io.unitycatalog.client.model.TableInfo;
import io.unitycatalog.client.model.TableOperation;
import java.net.URI;
import java.util.*;

public class UnityCatalog {
    static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

    // A page, and the token of the next one.
    record Page<T>(List<T> items, String next) {}

    interface Asks<T> {
        Page<T> page(String token) throws ApiException;
    }

    static final Map<String, Integer> PAGES = new TreeMap<>();

    static <T> List<T> all(String list, Asks<T> asks) throws ApiException {
        List<T> all = new ArrayList<>();
        String token = null;
        do {
            Page<T> page = asks.page(token);
            PAGES.merge(list, 1, Integer::sum);
            if (page.items() != null) {
                all.addAll(page.items());
            }
            token = page.next();
        } while (token != null && !token.isEmpty());
        return all;
    }

    static String vended(TemporaryCredentialsApi api, TableInfo table) {
        var asked = new GenerateTemporaryTableCredential().tableId(table.getTableId()).operation(TableOperation.READ);
        try {
            var given = api.generateTemporaryTableCredentials(asked);
            long left = given.getExpirationTime() - System.currentTimeMillis();
            var sas = given.getAzureUserDelegationSas().getSasToken();
            boolean good = left > 0 && left < 3_700_000 && sas.contains("sig=") && given.getUrl().equals(table.getStorageLocation());
            return good ? "ok" : "expires in " + left + " ms, for " + given.getUrl();
        } catch (ApiException error) {
            return error.getCode() + " " + (error.getResponseBody() == null ? error.getMessage() : error.getResponseBody());
        }
    }

    public static void main(String[] args) throws Exception {
        String url = args[0], catalog = args[3];
        var login = Map.of("type", "oauth", "oauth.uri", url + "/oidc/v1/token", "oauth.clientId", args[1], "oauth.clientSecret", args[2]);
        ApiClient client = ApiClientBuilder.create().uri(URI.create(url)).tokenProvider(TokenProvider.create(login)).build();
        var catalogs = new CatalogsApi(client);
        var schemas = new SchemasApi(client);
        var tables = new TablesApi(client);
        var credentials = new TemporaryCredentialsApi(client);
        var names = all("catalogs", token -> {
            var answer = catalogs.listCatalogs(token, 0);
            return new Page<>(answer.getCatalogs(), answer.getNextPageToken());
        }).stream().map(found -> found.getName()).toList();
        if (!names.equals(List.of(catalog))) {
            throw new IllegalStateException("catalogs " + names);
        }
        var listed = all("schemas", token -> {
            var answer = schemas.listSchemas(catalog, 0, token);
            return new Page<>(answer.getSchemas(), answer.getNextPageToken());
        });
        for (var schema : listed) {
            var found = all("tables", token -> {
                var answer = tables.listTables(catalog, schema.getName(), 0, token);
                return new Page<>(answer.getTables(), answer.getNextPageToken());
            });
            for (var table : found) {
                var one = tables.getTable(catalog + "." + schema.getName() + "." + table.getName(), null, null);
                if (!one.equals(table)) {
                    throw new IllegalStateException("listed as " + table + ", and by its name " + one);
                }
                Map<String, Object> line = new LinkedHashMap<>();
                line.put("table", schema.getName() + "." + table.getName());
                line.put("type", table.getTableType());
                line.put("format", table.getDataSourceFormat());
                line.put("location", table.getStorageLocation());
                line.put("columns", table.getColumns().stream().map(column -> Arrays.asList(
                    column.getName(), column.getTypeName(), column.getTypeText(), column.getPartitionIndex())).toList());
                line.put("vended", vended(credentials, table));
                System.out.println(GSON.toJson(line));
            }
        }
        System.out.println(GSON.toJson(Map.of("pages", PAGES)));
    }
}
