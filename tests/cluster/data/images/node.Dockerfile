# A node: Debian with systemd (rootfs.tar), Kubernetes, containerd, and the files of data/node.
FROM scratch
ADD rootfs.tar /
COPY kubeadm kubelet kubectl /usr/bin/
COPY containerd containerd-shim-runc-v2 ctr crictl /usr/local/bin/
COPY node /
COPY config.toml /etc/containerd/config.toml
COPY version /kind/version
# only what a node needs is started: containerd and kubelet
RUN mkdir -p /opt/cni && ln -sfn /usr/lib/cni /opt/cni/bin \
 && rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
      /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/basic.target.wants/* \
      /lib/systemd/system/sockets.target.wants/*udev* /lib/systemd/system/sockets.target.wants/*initctl* \
      /lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service \
 && echo ReadKMsg=no >>/etc/systemd/journald.conf \
 && systemctl enable containerd kubelet && systemctl mask systemd-binfmt.service \
 && systemctl set-default multi-user.target
ENV container=docker PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
