// Starts Swagger UI, which docs.html has loaded.
window.SwaggerUIBundle({
	url: new URL("openapi.json", document.baseURI).href,
	dom_id: "#swagger-ui",
	deepLinking: true,
	validatorUrl: null, // it would send the document to swagger.io
});
