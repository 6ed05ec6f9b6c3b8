// Requests with a body, over what Android and the JVM have. Call from a background thread or `withContext(Dispatchers.IO)`.
package org.openassistant.example

import java.net.HttpURLConnection
import java.net.URI

/** An error that the API gave: act on its code. */
class ApiError(val code: String, message: String, val retryAfter: Double? = null) : Exception(message)

/** A connection on which `body` was sent; nothing is read yet. `wait` is how many milliseconds may pass in silence. */
internal fun post(address: String, body: String, headers: Map<String, String>, wait: Int = 30_000): HttpURLConnection {
    val connection = URI(address).toURL().openConnection() as HttpURLConnection
    connection.requestMethod = "POST"
    connection.doOutput = true
    connection.instanceFollowRedirects = false
    connection.connectTimeout = 10_000
    connection.readTimeout = wait
    headers.forEach(connection::setRequestProperty)
    connection.outputStream.use { it.write(body.toByteArray()) }
    return connection
}

/** All of the answer, whatever its status, which has to be asked for first: `errorStream` is null before. */
internal fun HttpURLConnection.text(): String {
    val stream = if (responseCode < 400) inputStream else errorStream
    return stream?.use { it.readBytes() }?.decodeToString().orEmpty()
}
