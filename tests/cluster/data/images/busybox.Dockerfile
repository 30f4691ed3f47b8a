# Debian's static busybox, as the published image has it: every applet is a program in /bin.
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS debian
FROM scratch
COPY --from=debian /bin/busybox /bin/busybox
RUN ["/bin/busybox", "--install", "/bin"]
ENV PATH=/bin
CMD ["sh"]
