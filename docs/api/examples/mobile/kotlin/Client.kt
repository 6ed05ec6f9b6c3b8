// A small client for Android and the JVM: HttpURLConnection and org.json, which are both part of Android. The documents
// are ../operations/*.graphql, put into the resources.
package org.openassistant.example

import java.net.HttpURLConnection
import org.json.JSONObject

/** `token` is asked anew for each request: `Session.token`, so that one that has run out is renewed first. */
class Client(private val url: String, private val token: () -> String? = { null }) {
    /** Run the document of that name. Mutations on tasks may be sent again safely: they are idempotent. */
    fun <Data> run(name: String, variables: Map<String, Any?>, read: (JSONObject) -> Data): Data {
        val connection = send(name, variables, "application/json", 30_000)
        return read(dataOf(JSONObject(connection.text())))
    }

    /** Follow the subscription of that name by server-sent events until it ends or `each` answers false. */
    fun <Data> follow(name: String, variables: Map<String, Any?>, read: (JSONObject) -> Data, each: (Data) -> Boolean) {
        val connection = send(name, variables, "text/event-stream", 90_000)
        try {
            if (connection.responseCode != 200) dataOf(JSONObject(connection.text()))
            connection.inputStream.bufferedReader().useLines { lines ->
                var event = ""
                for (line in lines) {
                    val value = line.substringAfter(':', "").removePrefix(" ")
                    when (line.substringBefore(':')) {
                        "event" -> event = value
                        "data" -> if (event == "next" && !each(read(dataOf(JSONObject(value))))) return
                    }
                    if (event == "complete") return
                }
            }
        } finally {
            connection.disconnect()
        }
    }

    private fun send(name: String, variables: Map<String, Any?>, accept: String, wait: Int): HttpURLConnection {
        val document = javaClass.getResource("/$name.graphql")?.readText()
            ?: throw ApiError("BAD_QUERY", "no document $name in the resources")
        val headers = mutableMapOf("content-type" to "application/json", "accept" to accept)
        token()?.let { headers["authorization"] = "Bearer $it" }
        return post(url, JSONObject(mapOf("query" to document, "variables" to variables)).toString(), headers, wait)
    }

    private fun dataOf(answer: JSONObject): JSONObject {
        answer.optJSONArray("errors")?.optJSONObject(0)?.let { first ->
            val about = first.optJSONObject("extensions") ?: JSONObject()
            val wait = if (about.isNull("retryAfter")) null else about.getDouble("retryAfter")
            throw ApiError(about.optString("code", "INTERNAL"), first.getString("message"), wait)
        }
        return answer.optJSONObject("data") ?: throw ApiError("INTERNAL", "an answer without data")
    }

    /** `payload`, unless it says what the caller did wrong. */
    fun <T : Payload> done(payload: T): T {
        payload.userErrors.firstOrNull()?.let { throw ApiError(it.code, it.message, it.retryAfter) }
        return payload
    }

    /** Who is signed in, and how much there is to do. */
    fun viewer(langs: List<String>): Viewer? = run("Dashboard", mapOf("langs" to langs), ::dashboardData).viewer

    /** A task in one of these languages, of any kind or of `kind`; null when there is nothing to do. */
    fun takeTask(langs: List<String>, kind: String? = null): Task? = try {
        val input = mapOf("langs" to langs) + if (kind == null) emptyMap() else mapOf("kind" to kind)
        done(run("TakeTask", mapOf("input" to input), ::takeTaskData).requestTask).task
    } catch (error: ApiError) {
        if (error.code == "NOTHING_TO_DO") null else throw error
    }

    /** The message that a first prompt became. */
    fun prompt(task: Task, text: String): Message? {
        val input = mapOf("taskId" to task.id, "text" to text)
        return done(run("WritePrompt", mapOf("input" to input), ::writePromptData).submitPrompt).message
    }

    /** The message that a reply became. */
    fun reply(task: Task, text: String): Message? {
        val input = mapOf("taskId" to task.id, "text" to text)
        return done(run("WriteReply", mapOf("input" to input), ::writeReplyData).submitReply).message
    }

    /** How much there is to do, at once and whenever it changes, until `each` answers false. */
    fun watchTasks(langs: List<String>, each: (List<TaskAvailability>) -> Boolean) =
        follow("WatchTasks", mapOf("langs" to langs), ::watchTasksData) { each(it.taskAvailable) }
}
