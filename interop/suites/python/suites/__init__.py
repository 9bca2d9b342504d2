"""Checks of what applications build on a broker with Celery, kombu, pika, aio-pika, amqplib and lapin."""
